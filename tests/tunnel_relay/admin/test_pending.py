"""What the store did not take is tried again, outlives the relay, and can be taken back."""

import time
from pathlib import Path

import pytest

from tests.tunnel_relay.admin.test_service import broken, granted, mended
from tests.tunnel_relay.making import an_admin
from tunnel_relay.admin.service import Admin
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.sessions import Refusal
from tunnel_relay.store.base import StoreError

TABLES = ("sessions", "tunnels", "locks", "users", "agents")


async def killed(folder: Path, admin: Admin) -> None:
    """Let nothing be written at the end, as if the process had died."""
    admin.pending._changes.clear()


async def test_s24_a_relay_that_dies_with_an_unstored_revocation_still_knows_it(
    tmp_path: Path,
) -> None:
    async with an_admin(tmp_path) as admin:
        session, token = await granted(admin)
        await admin.agent_add("cli", ["https://a.example/cb"])
        await admin.user_add("eve")
        broken(tmp_path, *TABLES)
        reports = [
            await admin.session_revoke(session),
            await admin.lock_add("user", "mallory", "stolen"),
            await admin.user_disable("eve"),
            await admin.agent_disable("cli"),
            await admin.tunnel_disable("office"),
        ]
        assert [(each["stored"], each["journalled"]) for each in reports] == [(False, True)] * 5
        shown = await admin.status()
        assert (shown["unstored"], shown["forgettable"]) == (5, 0)
        await killed(tmp_path, admin)
        mended(tmp_path, *TABLES)
    async with an_admin(tmp_path) as admin:
        assert admin.sessions.why(token, time.time()) is Refusal.REVOKED
        assert [lock["subject"] for lock in await admin.lock_list()] == ["mallory"]
        assert admin.directory.active_user("eve") is None
        assert admin.directory.active_agent("cli") is None
        assert admin.tunnel("office").disabled
        assert await admin.pending.replay() == 0


async def test_a_start_without_a_store_keeps_the_journal(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        session, token = await granted(admin)
        broken(tmp_path, "sessions")
        await admin.session_revoke(session)
        await killed(tmp_path, admin)
    with pytest.raises(StoreError):
        async with an_admin(tmp_path):
            pass
    mended(tmp_path, "sessions")
    async with an_admin(tmp_path) as admin:
        assert admin.sessions.why(token, time.time()) is Refusal.REVOKED


async def test_what_is_stored_at_last_is_not_replayed(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await granted(admin)
        broken(tmp_path, "tunnels", "locks")
        await admin.tunnel_disable("office")
        lock = (await admin.lock_add("user", "bob", "why"))["lock"]["id"]
        mended(tmp_path, "tunnels")
        assert isinstance(await admin.pending.flush(), StoreError), "the lock fails still"
        assert len(admin.pending) == 1
        await admin.tunnel_enable("office")
        mended(tmp_path, "locks")
        await admin.lock_remove(lock)
        assert len(admin.pending) == 0
        await killed(tmp_path, admin)
    async with an_admin(tmp_path) as admin:
        assert not admin.tunnel("office").disabled
        assert await admin.lock_list() == []


async def test_an_enabled_user_is_not_disabled_again_by_an_old_change(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.user_add("eve")
        broken(tmp_path, "users")
        await admin.user_disable("eve")
        with pytest.raises(StoreError):
            await admin.user_enable("eve")
        assert len(admin.pending) == 1, "what could not be undone is still to be stored"
        mended(tmp_path, "users")
        await admin.user_enable("eve")
        assert await admin.pending.flush() is None
        (eve,) = await admin.store.users()
        assert eve.disabled is None


async def test_when_neither_takes_it_the_report_says_so(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        session, token = await granted(admin)
        journal = admin.settings.journal
        journal.unlink()
        journal.mkdir()
        broken(tmp_path, "sessions")
        report = await admin.session_revoke(session)
        assert (report["stored"], report["journalled"]) == (False, False)
        assert (await admin.status())["forgettable"] == 1
        assert admin.sessions.find(token, time.time()) is None
        mended(tmp_path, "sessions")
        assert await admin.pending.flush() is None
        assert (await admin.status())["forgettable"] == 0
        journal.rmdir()
    async with an_admin(tmp_path) as admin:
        assert admin.sessions.why(token, time.time()) is Refusal.REVOKED


async def test_a_journal_of_a_newer_program_stops_the_start(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        admin.pending._journal.append({"do": "something_new"})
    with pytest.raises(RelayError) as caught:
        async with an_admin(tmp_path):
            pass
    assert caught.value.code is Code.FILE_UNSAFE
