"""What admins can do, in the order that keeps a revocation true."""

import asyncio
import itertools
import sqlite3
import stat
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import text

from shared.audit import events
from shared.audit.keys import PUBLIC_FILE
from shared.errors import CloseCode
from shared.ids import JOIN_PREFIX, SESSION_PREFIX, is_token
from tests.tunnel_relay.making import RecordedLinks, an_admin, known
from tunnel_relay.admin import pending
from tunnel_relay.admin.links import CUT_WAIT
from tunnel_relay.admin.service import Admin
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.sessions import Refusal
from tunnel_relay.store import database
from tunnel_relay.store.base import StoreError
from tunnel_relay.store.sql import SqlStore


async def granted(admin: Admin, **arguments: Any) -> tuple[str, str]:
    """Create a tunnel and a session in it; returns the session's identifier and token."""
    if not await admin.tunnel_list():
        await admin.tunnel_create("office", "alice@example.com")
    await known(admin, "bob@example.com")
    result = await admin.session_create("bob@example.com", "claude", "office/git", **arguments)
    return result["session"]["id"], result["token"]


def broken(folder: Path, *tables: str) -> None:
    """Make every later write fail, by taking the tables away."""
    with closing(sqlite3.connect(folder / "state" / "relay.db")) as connection:
        for table in tables or ("sessions", "tunnels"):
            connection.execute(f"ALTER TABLE {table} RENAME TO {table}_away")


def mended(folder: Path, *tables: str) -> None:
    with closing(sqlite3.connect(folder / "state" / "relay.db")) as connection:
        for table in tables or ("sessions", "tunnels"):
            connection.execute(f"ALTER TABLE {table}_away RENAME TO {table}")


async def refused(wait: object) -> Code:
    with pytest.raises(RelayError) as caught:
        await wait  # type: ignore[misc] # any awaitable of a command
    return caught.value.code


async def test_a_tunnel_comes_with_a_join_code_and_the_command_to_type(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        made = await admin.tunnel_create("office", "alice@example.com")
        assert is_token(made["join_code"])
        assert made["join_code"].startswith(JOIN_PREFIX)
        assert made["command"] == "tunnel-client enroll wss://relay.example.com"
        assert made["join_code"] not in made["command"]
        assert [each["name"] for each in await admin.tunnel_list()] == ["office"]
        await admin.tunnel_create("attic", "alice")
        assert [each["name"] for each in await admin.tunnel_list(limit=1)] == ["attic"]
        assert await refused(admin.tunnel_list(limit=0)) is Code.BAD_REQUEST
        assert await refused(admin.tunnel_create("office", "eve")) is Code.TUNNEL_EXISTS
        assert await refused(admin.tunnel_show("other")) is Code.TUNNEL_UNKNOWN


@pytest.mark.parametrize(
    "name", ["", "a b", "$(reboot)", "a;b", "-a", "../x", "A", "x" * 64, "a\n"]
)
async def test_a_name_that_a_shell_would_read_is_refused(tmp_path: Path, name: str) -> None:
    async with an_admin(tmp_path) as admin:
        assert await refused(admin.tunnel_create(name, "alice")) is Code.BAD_NAME
        assert await refused(admin.session_create("u", "a", f"{name}/git")) in (
            Code.BAD_NAME,
            Code.BAD_REQUEST,
        )


@pytest.mark.parametrize("user", ["", "  ", "a\nb", "a\x1b[31m", "x" * 201])
async def test_a_user_that_would_forge_a_log_line_is_refused(tmp_path: Path, user: str) -> None:
    async with an_admin(tmp_path) as admin:
        assert await refused(admin.tunnel_create("office", user)) is Code.BAD_REQUEST
        await admin.tunnel_create("office", "alice")
        assert await refused(admin.session_create(user, "a", "office/x")) is Code.BAD_REQUEST


async def test_a_session_is_found_by_its_token_and_shown_without_it(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.tunnel_create("office", "alice")
        await known(admin, "bob")
        made = await admin.session_create("bob", "claude", "office/git", ttl=60.0)
        assert made["url"] == "https://relay.example.com/t/office/git/mcp"
        assert made["token"].startswith(SESSION_PREFIX)
        found = admin.sessions.find(made["token"], time.time())
        assert found
        assert (found.user, found.agent, found.tunnel, found.upstream) == (
            "bob",
            "claude",
            "office",
            "git",
        )
        assert found.expires - found.created == 60
        assert found.idle == 60
        shown = [await admin.session_list(), await admin.session_show(found.id[:8])]
        assert made["token"] not in str(shown)
        assert found.digest.hex() not in str(shown)


async def test_sessions_live_no_longer_than_the_setting(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.tunnel_create("office", "alice")
        for ttl, idle in [(31 * 86400.0, None), (0.0, None), (-1.0, None), (60.0, 61.0), (60.0, 0)]:
            attempt = admin.session_create("u", "a", "office/git", ttl, idle)
            assert await refused(attempt) is Code.BAD_DURATION
        assert await refused(admin.session_create("u", "a", "office")) is Code.BAD_REQUEST
        assert await refused(admin.session_create("u", "a", "none/git")) is Code.TUNNEL_UNKNOWN


async def test_a_server_that_the_tunnel_does_not_offer_now_is_warned_of(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.tunnel_create("office", "alice")
        await known(admin, "u")
        assert (await admin.session_create("u", "a", "office/gti"))["warning"] is None
        admin.links = RecordedLinks([{"tunnel": "office", "upstreams": ["git", "time"]}])
        assert (await admin.session_create("u", "a", "office/git"))["warning"] is None
        warning = (await admin.session_create("u", "a", "office/gti"))["warning"]
        assert warning == "office offers git, time now, not gti"


async def test_revoking_denies_cuts_and_stores(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        links = admin.links = RecordedLinks()
        session, token = await granted(admin)
        report = await admin.session_revoke(session, "left")
        assert admin.sessions.find(token, time.time()) is None
        assert links.told == [("cut", session)]
        assert (report["cut"]["streams"], report["cut"]["ms"]) == (3, 12.0)
        assert report["cut"]["lease"] == 30.0
        assert report["stored"]
        assert (report["session"]["state"], report["session"]["reason"]) == ("revoked", "left")
        assert (await admin.session_list())["sessions"] == []
        assert len((await admin.session_list(ended=True))["sessions"]) == 1


async def test_every_session_that_is_cut_is_named_in_a_record(tmp_path: Path) -> None:
    """A lock has no other record of them, however many there are."""
    told: list[list[str]] = []

    def note(kind: str, facts: Mapping[str, Any]) -> None:
        if kind == "session.cut":
            assert (facts["count"], facts["streams"]) == (120, 360)
            told.append(facts["sessions"])

    async with an_admin(tmp_path) as admin:
        admin.links = RecordedLinks()
        ids = [f"{number:032x}" for number in range(120)]
        with events.heard(note):
            await admin.cut(ids)
    assert max(map(len, told)) <= 50
    assert [each for some in told for each in some] == ids


async def test_a_session_is_denied_before_the_links_are_told(tmp_path: Path) -> None:
    seen: list[Refusal | None] = []
    async with an_admin(tmp_path) as admin:

        class Watching(RecordedLinks):
            async def cut_sessions(
                self, sessions: Sequence[str], wait: float = CUT_WAIT
            ) -> dict[str, object]:
                seen.append(admin.sessions.state(session, time.time()))
                return await super().cut_sessions(sessions, wait)

        admin.links = Watching()
        session, _ = await granted(admin)
        await admin.session_revoke(session)
    assert seen == [Refusal.REVOKED]


async def test_a_revoked_session_stays_revoked_after_a_restart(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        session, token = await granted(admin)
        await admin.session_revoke(session)
    async with an_admin(tmp_path) as admin:
        assert admin.sessions.find(token, time.time()) is None
        assert admin.sessions.why(token, time.time()) is Refusal.REVOKED


async def test_a_broken_store_delays_only_the_storing(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        session, token = await granted(admin)
        broken(tmp_path)
        report = await admin.session_revoke(session)
        assert not report["stored"]
        assert admin.sessions.find(token, time.time()) is None
        assert not (await admin.tunnel_disable("office"))["stored"]
        assert (await admin.status())["unstored"] == 2
        with pytest.raises(StoreError):
            await admin.flush_last_used()
        mended(tmp_path)
        await admin.flush_last_used()
        assert (await admin.status())["unstored"] == 0
    async with an_admin(tmp_path) as admin:
        assert admin.sessions.why(token, time.time()) is Refusal.REVOKED
        assert [each["disabled"] for each in await admin.tunnel_list()] == [True]


async def test_nothing_is_granted_that_is_not_stored(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await granted(admin)
        await known(admin, "u")
        broken(tmp_path)
        with pytest.raises(StoreError):
            await admin.session_create("u", "a", "office/git")
        with pytest.raises(StoreError):
            await admin.tunnel_create("home", "alice")
        assert len((await admin.session_list())["sessions"]) == 1
        assert len(await admin.tunnel_list()) == 1
        mended(tmp_path)


async def test_a_disabled_tunnel_rests_until_it_is_enabled(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        links = admin.links = RecordedLinks()
        session, token = await granted(admin)
        assert (await admin.tunnel_disable("office"))["closed"] == 1
        closing = ("close_tunnel", "office", CloseCode.REVOKED)
        assert links.told == [("cut", session), closing], "told before its link is closed"
        assert admin.sessions.why(token, time.time()) is Refusal.DISABLED
        await known(admin, "u")
        assert await refused(admin.session_create("u", "a", "office/git")) is Code.BAD_REQUEST
    async with an_admin(tmp_path) as admin:
        assert admin.sessions.find(token, time.time()) is None
        await admin.tunnel_enable("office")
        assert admin.sessions.find(token, time.time())


async def test_deleting_a_tunnel_ends_its_sessions(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        links = admin.links = RecordedLinks()
        session, token = await granted(admin)
        report = await admin.tunnel_delete("office")
        assert [told[:2] for told in links.told] == [("cut", session), ("close_tunnel", "office")]
        assert (report["sessions"], report["stored"]) == (1, True)
        assert admin.sessions.find(token, time.time()) is None
        assert await refused(admin.tunnel_delete("office")) is Code.TUNNEL_UNKNOWN


async def test_a_session_is_named_by_the_start_of_its_identifier(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        session, _ = await granted(admin)
        assert (await admin.session_show(session[:6]))["id"] == session
        for start in ("", session[:5], "zzzzzz", session + "0"):
            assert await refused(admin.session_show(start)) is Code.SESSION_UNKNOWN


async def test_last_uses_outlive_a_restart(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        session, token = await granted(admin)
        later = time.time() + 100
        assert admin.sessions.find(token, later)
    async with an_admin(tmp_path) as admin:
        found = admin.sessions.get(session)
        assert found
        assert found.last_used == later


async def test_creating_revoking_and_using_at_once_leaves_nothing_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 sessions are made and revoked in any order the loop likes, while all are being used."""
    # A disk that is slow is refused rather than waited for: not what this is about.
    monkeypatch.setattr(database, "QUEUE_TIMEOUT", 100.0)
    monkeypatch.setattr(pending, "STORE_SECONDS", 100.0)
    async with an_admin(tmp_path) as admin:
        await admin.tunnel_create("office", "alice")
        tokens: dict[str, str] = {}
        revoked: set[str] = set()
        uses = 0
        late: list[str] = []

        async def use_all() -> None:
            nonlocal uses
            for turn in itertools.count():
                for session, token in tokens.items():
                    if admin.sessions.find(token, time.time()):
                        uses += 1
                        late.extend([session] if session in revoked else [])
                # Who never rests takes the interpreter from the database's thread for seconds.
                await (anyio.lowlevel.checkpoint() if turn % 20 else anyio.sleep(0.001))

        async def one() -> None:
            session, token = await granted(admin)
            tokens[session] = token
            await anyio.lowlevel.checkpoint()  # let the user use it
            await admin.session_revoke(session)
            revoked.add(session)

        with anyio.fail_after(100):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(use_all)
                await asyncio.gather(*(one() for _ in range(40)))
                tasks.cancel_scope.cancel()
        assert late == []
        assert uses > 0
        assert (await admin.session_list())["sessions"] == []
    async with an_admin(tmp_path) as admin:
        assert (await admin.session_list())["sessions"] == []
        assert len((await admin.session_list(ended=True))["sessions"]) == 40


async def test_a_stolen_database_opens_nothing(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        made = await admin.tunnel_create("office", "alice")
        _, token = await granted(admin)
        store = admin.store
        assert isinstance(store, SqlStore)
        async with store._engine.connect() as connection:
            stolen = [
                str(value)
                for query in ("select * from sessions", "select * from join_codes")
                for row in (await connection.execute(text(query))).all()
                for value in row
            ]
            digests = (await connection.execute(text("select digest from sessions"))).scalars()
            keys = [digest.hex() for digest in digests]
        for value in [*stolen, *keys]:
            assert admin.sessions.find(value, time.time()) is None
            assert admin.sessions.find(SESSION_PREFIX + value, time.time()) is None
    for file in (tmp_path / "state").rglob("*"):
        if file.is_dir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o700
            continue
        private = 0o644 if file.name == PUBLIC_FILE else 0o600
        assert stat.S_IMODE(file.stat().st_mode) & ~private == 0
        content = file.read_bytes()
        assert token.encode() not in content
        assert made["join_code"].encode() not in content


async def test_status_counts_what_there_is(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        admin.links = RecordedLinks([{"tunnel": "office", "instance": "i", "upstreams": ["git"]}])
        session, _ = await granted(admin)
        await granted(admin)
        await admin.session_revoke(session)
        status = await admin.status()
        assert status["schema_version"] == 1
        assert (status["serving"], status["tunnels"], status["disabled"]) == (True, 1, 0)
        assert status["sessions"] == {"live": 1, "ended": 1}
        assert (await admin.tunnel_list())[0]["upstreams"] == ["git"]


async def test_a_clock_set_back_at_a_restart_revives_nothing(tmp_path: Path) -> None:
    """R16."""
    async with an_admin(tmp_path) as admin:
        _, token = await granted(admin, ttl=3600.0)
        admin.clock = lambda: time.time() + 7200
        await admin.flush_last_used()
    async with an_admin(tmp_path) as admin:
        assert admin.sessions.find(token, time.time()) is None
        assert admin.sessions.why(token, time.time()) is Refusal.EXPIRED


async def test_what_ends_by_time_is_cut_and_told_to_the_clients(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        links = admin.links = RecordedLinks()
        session, _ = await granted(admin, ttl=3600.0)
        assert await admin.end_by_time() == 0
        admin.clock = lambda: time.time() + 3600
        assert await admin.end_by_time() == 1
        assert links.told == [("cut", session)]
        assert await admin.end_by_time() == 0


async def test_a_session_is_for_somebody_there_is(tmp_path: Path) -> None:
    """A slip of the pen makes no user whom no lock and no group reaches."""
    async with an_admin(tmp_path) as admin:
        await admin.tunnel_create("office", owner="ada")
        await admin.user_add("grace")
        for slip in ("grcae", "Grace", "grace2"):
            with pytest.raises(RelayError, match="`user add` makes one") as caught:
                await admin.session_create(slip, "cron", "office/git")
            assert caught.value.code is Code.USER_UNKNOWN
        assert admin.directory.users.keys() == {"ada", "grace"}
        for user in ("grace", " grace ", "ada", "https://id.example#sub-1"):
            assert await admin.session_create(user, "cron", "office/git")
        assert admin.directory.users.keys() == {"ada", "grace", "https://id.example#sub-1"}
