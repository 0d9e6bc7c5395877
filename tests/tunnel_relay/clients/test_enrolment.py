"""What the endpoint answers, through real HTTP messages of the ASGI kind."""

import json
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from starlette.applications import Starlette

from shared.ids import JOIN_PREFIX, new_id, new_token
from shared.keys import PrivateKey, encode_public
from tests.tunnel_relay.making import ORIGIN, an_admin
from tunnel_relay.admin.service import Admin
from tunnel_relay.clients import enrolment
from tunnel_relay.clients.enrolment import PATH, Enrolment
from tunnel_relay.store.base import StoreError


def client_of(enroller: Any, *, per_minute: int = 600, clock: Any = None) -> httpx2.AsyncClient:
    made = Enrolment(enroller, per_minute=per_minute, **({"clock": clock} if clock else {}))
    app = Starlette(routes=[made.route])
    transport = httpx2.ASGITransport(app=app, client=("192.0.2.1", 1))
    return httpx2.AsyncClient(transport=transport, base_url="https://relay.example.com")


def wanted(code: str, **changed: Any) -> dict[str, Any]:
    return {
        "join_code": code,
        "public_key": encode_public(PrivateKey.generate().public),
        "instance": new_id(),
        "origin": ORIGIN,
        "host": {"name": "h", "platform": "Linux", "version": "0.1.0"},
    } | changed


async def a_code(admin: Admin) -> str:
    return str((await admin.tunnel_create("office", "alice"))["join_code"])


async def test_a_code_is_answered_with_the_relays_key(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin, client_of(admin) as client:
        answer = await client.post(PATH, json=wanted(await a_code(admin)))
        assert answer.status_code == 200
        assert set(answer.json()) == {"tunnel", "relay_key"}
        assert answer.headers["cache-control"] == "no-store"


async def test_a_used_an_unknown_and_a_shapeless_code_look_the_same(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin, client_of(admin) as client:
        code = await a_code(admin)
        assert (await client.post(PATH, json=wanted(code))).status_code == 200
        answers = {
            (found.status_code, found.content, tuple(sorted(found.headers.items())))
            for each in (code, new_token(JOIN_PREFIX), "", "x")
            for found in [await client.post(PATH, json=wanted(each))]
        }
        assert len(answers) == 1
        assert answers.pop()[0] == 401


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"{}",
        b'{"join_code":1}',
        json.dumps(wanted("c", extra=1)).encode(),
        json.dumps(wanted("c", public_key=None)).encode(),
        json.dumps(wanted("c", host="h")).encode(),
        json.dumps(wanted("c", instance="x" * 65)).encode(),
        json.dumps(wanted("c", public_key="short")).encode(),
        json.dumps(wanted("c", origin="wss://evil.example")).encode(),
        json.dumps(wanted("c")).encode().replace(b"{", b'{"join_code":"d",', 1),
        b"[" * 2000,
    ],
)
async def test_what_is_malformed_is_a_400(tmp_path: Path, body: bytes) -> None:
    async with an_admin(tmp_path) as admin, client_of(admin) as client:
        answer = await client.post(PATH, content=body)
        assert answer.status_code == 400
        assert set(answer.json()) == {"error"}


async def test_a_large_body_is_cut_off(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin, client_of(admin) as client:
        assert (await client.post(PATH, content=b" " * 4096)).status_code == 400
        assert (await client.post(PATH, content=b" " * 4097)).status_code == 413


async def test_a_body_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrolment, "READ_DEADLINE", 0.01)
    sent: list[dict[str, Any]] = []
    scope = {"type": "http", "method": "POST", "path": PATH, "headers": [], "client": ("::1", 1)}

    async def receive() -> dict[str, Any]:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    class Nobody:
        async def enroll(self, *_: Any, **__: Any) -> dict[str, str]:
            raise AssertionError

    app = Starlette(routes=[Enrolment(Nobody()).route])
    with anyio.fail_after(10):
        await app(scope, receive, send)
    assert sent[0]["status"] == 408


async def test_a_web_page_is_turned_away(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin, client_of(admin) as client:
        code = await a_code(admin)
        page = {"Origin": "https://evil.example"}
        assert (await client.post(PATH, json=wanted(code), headers=page)).status_code == 403
        assert (await client.get(PATH)).status_code == 405
        assert (await client.post(PATH, json=wanted(code))).status_code == 200


async def test_who_hammers_has_to_wait_and_is_told_how_long(tmp_path: Path) -> None:
    now = 0.0
    async with an_admin(tmp_path) as admin:
        code = await a_code(admin)
        async with client_of(admin, per_minute=6, clock=lambda: now) as client:
            for _ in range(5):
                assert (await client.post(PATH, json=wanted("x"))).status_code == 401
            answer = await client.post(PATH, json=wanted(code))
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "10")
            now = 10.0
            assert (await client.post(PATH, json=wanted(code))).status_code == 200


async def test_a_store_that_is_down_is_a_503() -> None:
    class Down:
        async def enroll(self, *_: Any, **__: Any) -> dict[str, str]:
            raise StoreError("disk full at secret place")

    async with client_of(Down()) as client:
        answer = await client.post(PATH, json=wanted("x"))
        assert answer.status_code == 503
        assert "secret place" not in answer.text
