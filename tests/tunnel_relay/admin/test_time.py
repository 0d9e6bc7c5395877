"""What happens at the relay because time goes by: ends, what is remembered, what is forgotten."""

import time
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.lowlevel
from structlog.testing import capture_logs

from tests.tunnel_relay.admin.test_service import granted, refused
from tests.tunnel_relay.making import RecordedLinks, an_admin, known
from tunnel_relay.admin.core import KEEP_ENDED
from tunnel_relay.errors import Code


async def test_s16_the_end_of_a_session_is_remembered_before_the_next_flush(
    tmp_path: Path,
) -> None:
    """A relay that is killed now, and whose clock is set back, revives nothing either."""
    async with an_admin(tmp_path) as admin:
        await granted(admin, ttl=3600.0)
        later = time.time() + 3600
        admin.clock = lambda: later
        assert await admin.end_by_time() == 1
        assert await admin.store.latest_time() == later


async def test_a_clock_that_is_behind_is_told_and_makes_no_stillborn_session(
    tmp_path: Path,
) -> None:
    async with an_admin(tmp_path) as admin:
        await admin.tunnel_create("office", "alice@example.com")
        ahead = time.time() + 7200
        admin.clock = lambda: ahead
        await admin.flush_last_used()
    async with an_admin(tmp_path) as admin:
        with capture_logs() as logs:
            await admin.load()
        assert [each["code"] for each in logs if each["event"] == "clock_behind"] == [
            Code.CLOCK_BEHIND
        ]
        for ttl, idle in ((3600.0, 3600.0), (86400.0, 3600.0)):
            await known(admin, "bob")
            stillborn = admin.session_create("bob", "claude", "office/git", ttl, idle)
            assert await refused(stillborn) is Code.CLOCK_BEHIND
        made = await admin.session_create("bob", "claude", "office/git", 86400.0, 86400.0)
        assert admin.sessions.find(made["token"], time.time()) is not None


async def test_d16_many_that_end_together_let_others_run_and_are_all_cut(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        links = admin.links = RecordedLinks()
        first, _ = await granted(admin)
        like = admin.sessions.get(first)
        assert like is not None
        for number in range(999):
            admin.sessions.put(replace(like, id=f"{number:032x}", digest=b"%d" % number))
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await anyio.lowlevel.checkpoint()
                turns += 1

        admin.clock = lambda: time.time() + 86400
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(others)
            assert await admin.end_by_time() == 1000
            assert turns >= 5
            tasks.cancel_scope.cancel()
        assert len(set(links.told)) == 1000


async def test_d16_sessions_that_ended_long_ago_are_forgotten_while_the_relay_runs(
    tmp_path: Path,
) -> None:
    async with an_admin(tmp_path) as admin:
        session, _ = await granted(admin, ttl=3600.0)
        kept, _ = await granted(admin, ttl=86400.0)
        await admin.session_revoke(session)
        admin.clock = lambda: time.time() + KEEP_ENDED - 60
        assert await admin.purge() == 0
        admin.clock = lambda: time.time() + KEEP_ENDED + 60
        assert await admin.purge() == 1
        assert [each.id for each in admin.sessions.all()] == [kept]
        assert [each.id for each in await admin.store.sessions()] == [kept]
