"""The admin API refuses with the right status, whatever is wrong, and never says more than that."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.ids import ADMIN_PREFIX, new_token
from tests.tunnel_relay.console.stage import Stage, a_console
from tunnel_relay.admin.answers import STATUSES
from tunnel_relay.admin.logins import COOKIE
from tunnel_relay.errors import Code
from tunnel_relay.store.base import StoreError


async def bearer(stage: Stage, user: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {await stage.token(user)}"}


async def raw(stage: Stage, body: bytes, **headers: str) -> Any:
    sent = {"Content-Type": "application/json", **await bearer(stage, "ada"), **headers}
    return await stage.http.post("/v1/tunnel_show", content=body, headers=sent)


async def test_a_command_is_answered_as_the_socket_answers_it(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        token = await bearer(stage, "ada")
        made = await stage.nobody().call("tunnel_create", {"name": "office", "owner": "uma"}, token)
        assert made.json()["result"]["join_code"].startswith("mtj_")
        shown = await stage.nobody().call("tunnel_show", {"name": "lab"}, headers=token)
        assert shown.status_code == 404
        assert shown.json()["error"] == {
            "code": "MT1020",
            "message": "no tunnel is called 'lab'",
            "next": "tunnel-relay tunnel list",
        }


async def test_who_grants_is_the_tokens_user_not_the_operator(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        await stage.admin.tunnel_create("office", "uma")
        given = {"user": "uma", "agent": "bot", "server": "office/git"}
        made = await stage.nobody().call(
            "session_create", given, headers=await bearer(stage, "ada")
        )
        assert made.json()["result"]["session"]["granted_by"] == "ada"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (b"", {}, 400),
        (b"[]", {}, 400),
        (b"{", {}, 400),
        (b'{"name": "a", "name": "b"}', {}, 400),
        (b'{"name": NaN}', {}, 400),
        (b'{"name": 1}', {}, 400),
        (b'{"name": "a", "more": 1}', {}, 400),
        (b"[" * 60_000, {}, 400),
        (json.dumps({"name": "x" * 65_536}).encode(), {}, 413),
        (b'{"name": "office"}', {"Content-Type": "application/json; charset=utf-8"}, 404),
    ],
)
async def test_what_is_malformed_is_refused(
    tmp_path: Path, body: bytes, headers: dict[str, str], status: int
) -> None:
    async with a_console(tmp_path) as stage:
        answer = await raw(stage, body, **headers)
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"code", "message", "next"}
        assert len(answer.content) < 1000


async def test_only_post_gives_commands(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        token = await bearer(stage, "ada")
        for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS"):
            answer = await stage.http.request(method, "/v1/status", headers=token)
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
            assert (await stage.http.request(method, "/v1/status")).status_code in (401, 403)
        assert (await stage.nobody().call("enroll", {}, headers=token)).status_code == 404
        assert (await stage.nobody().call("nothing/at/all", {}, headers=token)).status_code == 404
        assert (await stage.nobody().call("nothing", {})).status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        "Bearer " + new_token(ADMIN_PREFIX),
        "Bearer " + new_token("mts_"),
        "Bearer",
        "Bearer x y",
        "Basic YWRhOmFkYQ==",
        "",
        "mta_" + "a" * 43,
        "Bearer mta_\xfc" + "a" * 42,
    ],
)
async def test_anything_but_a_good_token_is_401(tmp_path: Path, header: str) -> None:
    """U05: an agent's token too."""
    async with a_console(tmp_path) as stage:
        sent = {b"Authorization": header.encode("latin-1")}
        answer = await stage.http.post("/v1/status", json={}, headers=sent)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["error"]["code"] == "MT1055"


async def test_a_token_is_worth_what_its_user_is_worth_now(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        token = await bearer(stage, "abe")

        async def may() -> int:
            return (await stage.nobody().call("status", headers=token)).status_code

        assert await may() == 200
        await stage.admin.user_change("abe", roles=["approver"])
        assert await may() == 403
        await stage.admin.user_change("abe", roles=["auditor"])
        assert await may() == 200
        await stage.admin.lock_add("user", "abe", "asked about")
        assert await may() == 401
        await stage.admin.lock_remove((await stage.admin.lock_list())[0]["id"])
        assert await may() == 200
        await stage.admin.user_disable("abe")
        assert await may() == 401
        await stage.admin.user_enable("abe")
        assert await may() == 401  # a token that ended stays ended


async def test_a_cookie_needs_the_token_of_the_page_and_its_origin(tmp_path: Path) -> None:
    """U01."""
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("ada")
        assert (await hand.call("status")).status_code == 200
        assert (await hand.call("status", headers={"X-CSRF-Token": "x"})).status_code == 403
        for origin in ("https://evil.example", "null"):
            answer = await hand.call("status", headers={"Origin": origin})
            assert answer.status_code == 403
        sent = {"Cookie": f"{COOKIE}={hand.cookie}", "X-CSRF-Token": hand.csrf}
        answer = await stage.http.post("/v1/status", json={}, headers=sent)
        assert answer.status_code == 403
        other = await stage.logged_in("abe")
        assert (await hand.call("status", headers={"X-CSRF-Token": other.csrf})).status_code == 403


async def test_a_wrong_token_is_not_made_good_by_a_cookie(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("ada")
        wrong = {"Authorization": "Bearer mta_" + "a" * 43}
        answer = await hand.call("status", headers=wrong)
        assert answer.status_code == 401


async def test_promotion_of_oneself_and_the_last_admin(tmp_path: Path) -> None:
    """U19."""
    async with a_console(tmp_path) as stage:
        token, hand = await bearer(stage, "ada"), await stage.logged_in("ada")

        async def both(command: str, **arguments: Any) -> set[int]:
            calls = [
                await stage.nobody().call(command, arguments, headers=token),
                await hand.call(command, arguments),
            ]
            return {each.status_code for each in calls}

        assert await both("user_change", user="ada", roles=["auditor"]) == {403}
        assert await both("user_disable", user="ada") == {403}
        assert await both("user_token", user="abe") == {403}
        await stage.admin.user_disable("abe")
        # ada alone is left; an operator at the socket is told so too.
        stage.admin.directory.users["abe"] = replace(
            stage.admin.directory.users["abe"], disabled=None
        )
        stage.admin.directory.users["ada"] = replace(
            stage.admin.directory.users["ada"], disabled=1.0
        )
        token = await bearer(stage, "abe")
        other = await stage.admin.user_add("new", roles=["admin"])
        assert other["user"]["roles"] == ["user", "admin"]
        await stage.admin.user_disable("new")
        with pytest.raises(Exception, match="last admin"):
            await stage.admin.user_disable("abe")


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("session_revoke", {"session": "x", "reason": "r" * 201}),
        ("lock_add", {"kind": "user", "subject": "s" * 201, "reason": "r"}),
        ("lock_add", {"kind": "user", "subject": "s", "reason": "r" * 60_000}),
        ("lock_add", {"kind": "user", "subject": "s", "reason": "two\nlines"}),
        ("tunnel_create", {"name": "fine", "owner": "o" * 201}),
        ("user_add", {"user": "u" * 201}),
        ("user_add", {"user": "u", "name": "n" * 201}),
        ("user_add", {"user": "u", "groups": ["g" * 201]}),
        ("user_add", {"user": "u", "groups": [str(number) for number in range(65)]}),
        ("user_token", {"user": "ada", "name": "n" * 201}),
        ("user_disable", {"user": "abe", "reason": "r" * 201}),
        ("agent_add", {"agent": "a", "name": "n" * 201, "redirect_uris": ["https://a.example"]}),
        ("agent_disable", {"agent": "a", "reason": "r" * 201}),
        ("session_list", {"query": "q" * 201}),
        ("session_list", {"limit": 1001}),
    ],
)
async def test_texts_are_bounded(tmp_path: Path, command: str, arguments: Any) -> None:
    """U21."""
    async with a_console(tmp_path) as stage:
        answer = await stage.nobody().call(command, arguments, headers=await bearer(stage, "ada"))
        assert answer.status_code == 400
        assert len(answer.content) < 1000


async def test_a_store_that_fails_is_503(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_console(tmp_path) as stage:
        token = await bearer(stage, "ada")

        async def fails(*_: object) -> None:
            raise StoreError("disk full")

        monkeypatch.setattr(stage.admin.store, "add_tunnel", fails)
        given = {"name": "office", "owner": "ada"}
        answer = await stage.nobody().call("tunnel_create", given, headers=token)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "MT1010")


async def test_the_document_is_for_those_who_are_known(tmp_path: Path) -> None:
    """U20."""
    async with a_console(tmp_path) as stage:
        assert (await stage.http.get("/v1/openapi.json")).status_code == 401
        got = await stage.http.get("/v1/openapi.json", headers=await bearer(stage, "uma"))
        assert got.json()["openapi"] == "3.1.0"
        hand = await stage.logged_in("otto")
        assert (await hand.get("/v1/openapi.json")).status_code == 200


def test_every_status_is_of_a_code() -> None:
    assert set(STATUSES) <= set(Code)
