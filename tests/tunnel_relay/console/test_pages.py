"""What the pages do, used as a browser without script uses them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.ids import new_id
from shared.keys import PrivateKey, encode_public
from tests.tunnel_relay.console.filled import fields_of
from tests.tunnel_relay.console.stage import PASSWORD, Hand, a_console
from tests.tunnel_relay.making import known
from tunnel_relay.console.edits import mark
from tunnel_relay.store.base import Lock, LockKind


async def after(hand: Hand, answer: Any) -> str:
    """Follow the answer to a form; returns the page it leads to."""
    assert answer.status_code == 303, answer.text
    page = await hand.get(answer.headers["location"])
    assert page.status_code == 200
    return str(page.text)


def link(tunnel: str, upstreams: list[str], round_trip_ms: float = 12.5) -> dict[str, Any]:
    names = {"tunnel": tunnel, "instance": "a" * 32, "epoch": 1, "peer": "192.0.2.7:1"}
    state = {"since": 1.0, "streams": 2, "round_trip_ms": round_trip_ms, "program": "x"}
    return {**names, **state, "upstreams": upstreams}


async def test_the_overview_says_what_is_wrong_with_an_issuer(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        facts = {"ready": True, "keys": 1, "age": 60, "problem": None}
        stage.admin.issuers = lambda: [
            {"issuer": "https://good.example", **facts},
            {"issuer": "https://late.example", **facts, "problem": "it cannot be <reached>"},
            {"issuer": "https://never.example", **facts, "ready": False, "age": None},
        ]
        browser = await stage.logged_in("ada")
        shown = (await browser.get("/")).text
        assert "good.example" not in shown
        assert "late.example were last fetched 1m ago: it cannot be &lt;reached&gt;" in shown
        assert "never.example were never fetched. Its tokens and logins are refused" in shown


async def test_the_overview_shows_what_is_connected(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("otto")
        assert "There are no tunnels yet" in (await hand.get("/")).text
        for name in ("office", "plant", "shut", "held"):
            await stage.admin.tunnel_create(name, "uma")
        await stage.admin.tunnel_disable("shut")
        await stage.admin.lock_add("tunnel", "held", "asked about")
        stage.links.live = [link("office", ["git", "time"]), link("office", ["git"], 31.0)]
        stage.events.add("2026-01-01T10:00:00Z", "warning", "link_lost", {"tunnel": "plant"})
        for path in ("/", "/live"):
            text = (await hand.get(path)).text
            for part in (
                "git, time",
                "31.0 ms",
                "not connected",
                "disabled",
                "locked",
                "link lost",
            ):
                assert part in text, part
        assert "<html" not in (await hand.get("/live")).text


async def test_a_key_that_was_copied_stands_on_every_page_of_its_tunnel(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        admin, hand, instance = stage.admin, await stage.logged_in("otto"), new_id()
        code = (await admin.tunnel_create("office", "uma"))["join_code"]
        key = encode_public(PrivateKey.generate().public)
        await admin.enroll(code, key, instance, admin.settings.link_origins[0], {})
        pages = ("/", "/live", "/tunnels", "/tunnels/office")
        for path in pages:
            assert "key locked" not in (await hand.get(path)).text
        for _ in range(2):
            await admin.admit("office", instance, 1)
        for path in pages:
            assert "key locked" in (await hand.get(path)).text, path
        for path in set(pages) - {"/tunnels"}:
            assert "so the key is locked (MT1031)" in (await hand.get(path)).text, path


class Walked(list[dict[str, Any]]):
    """Links that count how often somebody goes through all of them."""

    walks = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.walks += 1
        return super().__iter__()


@pytest.mark.parametrize("path", ["/", "/live", "/tunnels", "/tunnels?query=connected"])
async def test_many_tunnels_cost_as_few_looks_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("otto")
        asked: list[str] = []
        walks: list[int] = []
        listed = stage.admin.lock_list

        async def lock_list() -> list[dict[str, Any]]:
            asked.append(path)
            return await listed()

        monkeypatch.setattr(stage.admin, "lock_list", lock_list)
        for names in (["first"], [f"more{number}" for number in range(60)]):
            for name in names:
                await stage.admin.tunnel_create(name, "uma")
            walked = Walked(link(name, ["git"]) for name in stage.admin.tunnels)
            stage.links.live = walked
            assert (await hand.get(path)).status_code == 200
            walks.append(walked.walks)
        assert len(asked) == 2
        assert walks[0] == walks[1] > 0


async def test_the_overview_shows_one_page_of_tunnels_and_where_all_are(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("otto")
        for number in range(50):
            await stage.admin.tunnel_create(f"t{number:02}", "uma")
        assert "All 50 tunnels" not in (await hand.get("/live")).text
        await stage.admin.tunnel_create("t50", "uma")
        shown = (await hand.get("/live")).text
        assert shown.count('id="tunnel-') == 50
        assert 'id="tunnel-t49"' in shown
        assert "All 51 tunnels" in shown


async def test_a_tunnel_is_made_and_its_join_code_shown_once(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("ada")
        answer = await hand.post("/tunnels/create", {"name": "office", "owner": "uma"})
        assert answer.status_code == 200
        assert "mtj_" in answer.text
        assert "tunnel-client enroll wss://relay.example.com" in answer.text
        assert answer.headers["cache-control"] == "no-store"
        for path in ("/tunnels", "/tunnels/office", "/", "/events"):
            assert "mtj_" not in (await hand.get(path)).text
        again = await hand.post("/tunnels/create", {"name": "office", "owner": "uma"})
        assert again.status_code == 409
        assert "is called &#39;office&#39; already" in again.text
        assert 'value="office"' in again.text  # what was typed is kept
        assert "mtj_" in (await hand.post("/tunnels/office/rotate")).text
        assert "office is disabled" in await after(hand, await hand.post("/tunnels/office/disable"))
        assert "office is enabled" in await after(hand, await hand.post("/tunnels/office/enable"))
        assert (await hand.post("/tunnels/none/disable")).status_code == 404
        assert (await hand.get("/tunnels/none")).status_code == 404


async def test_what_to_paste_into_an_agent_stands_with_the_tunnel(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("otto")
        await stage.admin.tunnel_create("office", "uma")
        assert "Once a client is connected" in (await hand.get("/tunnels/office")).text
        stage.links.live = [link("office", ["git"])]
        text = (await hand.get("/tunnels/office")).text
        assert "https://relay.example.com/t/office/git/mcp" in text
        assert "claude mcp add" in text
        assert "mts_" not in text


async def test_a_session_is_found_and_revoked(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("ada")
        await stage.admin.tunnel_create("office", "uma")
        for number in range(60):
            await known(stage.admin, f"user{number}")
            made = await stage.admin.session_create(f"user{number}", "bot", "office/git")
        which = made["session"]["id"]
        first = (await hand.get("/sessions")).text
        assert first.count("<tr>") == 51
        assert "user59" in first
        older = first.split('rel="next"')[0].rpartition('href="')[2].partition('"')[0]
        rest = (await hand.get(older.replace("&amp;", "&"))).text
        assert rest.count("<tr>") == 11
        assert "user0<" in rest
        found = await hand.get("/sessions?query=user59", **{"HX-Request": "true"})
        assert found.text.count("<tr>") == 2
        assert "<html" not in found.text

        page = await hand.get(f"/sessions/{which}")
        assert made["token"] not in page.text
        assert "never</span>" in page.text
        done = await hand.post(f"/sessions/{which}/revoke", {"reason": "laptop lost"})
        text = await after(hand, done)
        assert "cut 3 streams on 2 links in 12 ms" in text
        assert "laptop lost" in text
        assert "cut 3 streams" not in (await hand.get(f"/sessions/{which}")).text
        assert stage.links.told[-1] == ("cut", which)
        revoked = (await hand.get("/sessions?state=revoked")).text
        assert revoked.count("<tr>") == 2
        assert ">never</span>" in revoked
        assert ">in " not in revoked  # what is over does not end in some hours
        assert (await hand.get("/sessions?state=nonsense")).status_code == 400
        assert (await hand.get("/sessions/unknown")).status_code == 404
        long = await hand.post(f"/sessions/{which}/revoke", {"reason": "x" * 201})
        assert long.status_code == 400  # U21


async def test_htmx_gets_the_session_and_the_result_alone(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("ada")
        await stage.admin.tunnel_create("office", "uma")
        made = await stage.admin.session_create("uma", "bot", "office/git")
        path = f"/sessions/{made['session']['id']}/revoke"
        answer = await hand.post(path, {"reason": ""}, **{"HX-Request": "true"})
        assert answer.status_code == 200
        assert "<html" not in answer.text
        assert 'hx-swap-oob="innerHTML"' in answer.text
        assert "cut 3 streams on 2 links in 12 ms" in answer.text
        assert "revoked by an admin" in answer.text


async def test_users_are_added_changed_and_switched_off(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("ada")
        fields: dict[str, Any] = {"user": "new", "name": "New One", "roles": ["auditor"]}
        fields |= {"servers": "office/*, lab/git", "groups": "ops", "password": PASSWORD}
        text = await after(hand, await hand.post("/users/add", fields))
        for part in ("New One", "office/*", "lab/git", "ops", "auditor", "with a password"):
            assert part in text, part
        assert PASSWORD not in text
        short = await hand.post("/users/add", {**fields, "user": "other", "password": "short"})
        assert short.status_code == 400
        assert 'value="other"' in short.text
        assert 'value="short"' not in short.text
        change = fields_of((await hand.get("/user?user=new")).text, "/users/change")
        change |= {"roles": ["approver"], "servers": ["*"]}
        text = await after(hand, await hand.post("/users/change", change))
        assert "user, approver" in text
        reset = {"user": "new", "password": "another password"}
        assert "password is set" in await after(hand, await hand.post("/users/password", reset))
        assert (await hand.post("/users/password", {"user": "new"})).status_code == 400
        off = await hand.post("/users/disable", {"user": "new", "reason": "left"})
        assert "Disabled: cut 0 streams of 0 sessions" in await after(hand, off)
        assert "Enabled" in await after(hand, await hand.post("/users/enable", {"user": "new"}))
        assert (await hand.get("/user?user=nobody")).status_code == 404
        foreign = {"user": "https://login.example.com/x#s/1?&"}
        assert "login.example.com" in await after(hand, await hand.post("/users/add", foreign))


async def test_nobody_changes_their_own_roles_or_takes_the_last_admin(tmp_path: Path) -> None:
    """U19."""
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("ada")
        page = (await hand.get("/user?user=ada")).text
        own: dict[str, Any] = dict(fields_of(page, "/users/change"))
        assert "was_roles" not in own
        assert "roles" not in own
        assert "Disable the user" not in page
        forged = {"was_roles": mark(["user", "admin"]), "roles": ["auditor"]}
        assert (await hand.post("/users/change", own | forged)).status_code == 403
        assert (await hand.post("/users/disable", {"user": "ada"})).status_code == 403
        # What one may change about oneself keeps the roles as they are.
        text = await after(hand, await hand.post("/users/change", own | {"name": "A"}))
        assert "user, admin" in text
        # A second admin takes the first away; then the first's form about the second is too late.
        abe = await stage.logged_in("abe")
        forms = {}
        for one, other in ((abe, "ada"), (hand, "abe")):
            page = (await one.get(f"/user?user={other}")).text
            forms[other] = fields_of(page, "/users/change") | {"roles": []}
        await after(abe, await abe.post("/users/change", forms["ada"]))
        late = await hand.post("/users/change", forms["abe"])
        assert late.headers["location"] == "/login"
        assert stage.admin.directory.admins()[0].key == "abe"


async def test_admin_tokens_are_listed_and_ended(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("ada")
        made = await stage.admin.user_token("abe", name="backup job")
        page = (await hand.get("/user?user=abe")).text
        assert "backup job" in page
        assert made["token"] not in page
        done = await hand.post("/users/revoke-token", {"token": made["admin_token"]["id"]})
        assert "works no more" in await after(hand, done)
        assert stage.admin.admin_tokens.find(made["token"], stage.admin.clock()) is None


async def test_agents_are_registered_and_switched_off(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("ada")
        fields = {"agent": "bot", "name": "Bot", "redirect_uris": "https://a.example/cb"}
        text = await after(hand, await hand.post("/agents/add", fields))
        assert "bot is registered" in text
        secret = await hand.post("/agents/add", {**fields, "agent": "box", "secret": "1"})
        assert "mtc_" in secret.text
        assert "mtc_" not in (await hand.get("/agents")).text
        bad = {**fields, "agent": "bad", "redirect_uris": "javascript:alert(1)"}
        assert (await hand.post("/agents/add", bad)).status_code == 400  # U03
        off = await hand.post("/agents/disable", {"agent": "bot"})
        assert "bot is disabled" in await after(hand, off)
        assert "bot is enabled" in await after(
            hand, await hand.post("/agents/enable", {"agent": "bot"})
        )


async def test_locks_are_added_and_lifted(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("ada")
        fields = {"kind": "user", "subject": "mallory", "reason": "left", "ttl": "5m"}
        text = await after(hand, await hand.post("/locks/add", fields))
        assert "user mallory is locked: cut 0 streams" in text
        for wrong in ({"ttl": "soon"}, {"kind": "moon"}, {"reason": ""}, {"subject": "x" * 201}):
            answer = await hand.post("/locks/add", fields | wrong)
            assert answer.status_code == 400, wrong
            assert "Not done" in answer.text
        far = await hand.post("/locks/add", fields | {"subject": "eve", "ttl": "999999999d"})
        assert far.status_code == 400
        assert "lasts at most 3650d" in far.text
        (lock,) = [each["id"] for each in await stage.admin.lock_list()]
        done = await hand.post("/locks/remove", {"lock": lock})
        assert "mallory is not locked any more" in await after(hand, done)


async def test_a_lock_of_before_that_outlasts_every_calendar_is_shown(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("ada")
        stage.admin.locks.put(Lock("f" * 32, LockKind.USER, "mallory", "left", 1.0, 1e14))
        page = await hand.get("/locks")
        assert page.status_code == 200
        assert "after the year 9999" in page.text


async def test_the_feed_is_sent_when_there_is_news(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("otto")
        for number in range(3):
            stage.events.add("2026-01-01T10:00:00Z", "info", f"event_{number}", {"user": "ada"})
        page = (await hand.get("/events")).text
        assert 'hx-get="/events/after/3"' in page
        assert (await hand.get("/events/after/3")).status_code == 204
        stage.events.add("2026-01-01T10:00:01Z", "error", "event_3", {})
        piece = (await hand.get("/events/after/3")).text
        assert piece.index("event 3") < piece.index("event 2")
        assert 'hx-get="/events/after/4"' in piece
        paused = (await hand.get("/events?paused=1")).text
        assert 'hx-get="/events' not in paused


async def test_what_is_to_be_told_waits_for_a_whole_page(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("ada")
        fields = {"kind": "user", "subject": "mallory", "reason": "left"}
        answer = await hand.post("/locks/add", fields)
        assert "is locked" not in (await hand.get("/live")).text
        assert "is locked" in await after(hand, answer)


@pytest.mark.parametrize("csrf", ["", "x" * 43, "\xe9"])
async def test_a_form_without_the_pages_token_is_refused(tmp_path: Path, csrf: str) -> None:
    """U01."""
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("ada")
        answer = await hand.post("/tunnels/create", {"csrf": csrf, "name": "a", "owner": "ada"})
        assert answer.status_code == 403
        assert stage.admin.tunnels == {}
        other = await stage.logged_in("abe")
        answer = await hand.post("/tunnels/create", {"csrf": other.csrf, "name": "a", "owner": "b"})
        assert answer.status_code == 403


async def test_reading_a_page_changes_nothing(tmp_path: Path) -> None:
    """U01: no form is taken by GET."""
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("ada")
        for path in ("/tunnels/create", "/users/add", "/locks/add", "/agents/add", "/logout"):
            answer = await hand.get(f"{path}?csrf={hand.csrf}&name=a&owner=b")
            assert answer.status_code in (404, 405), path
        assert stage.admin.tunnels == {}
        assert (await hand.get("/")).status_code == 200
