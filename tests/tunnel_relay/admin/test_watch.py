"""The watch keeps the lease true: it hears a store that works and loses one that does not."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio

from tests.integration.scene import eventually
from tests.tunnel_relay.admin.test_service import broken, granted, mended
from tests.tunnel_relay.making import an_admin
from tests.tunnel_relay.test_lease import Clock
from tunnel_relay.admin.service import Admin
from tunnel_relay.admin.watch import StoreWatch
from tunnel_relay.lease import Lease


def watch(admin: Admin, seconds: float = 30.0) -> tuple[StoreWatch, Lease]:
    lease = Lease(seconds)
    return StoreWatch(admin.store, lease, admin.pending.flush), lease


async def test_a_beat_really_writes(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        watching, lease = watch(admin)
        assert await watching.beat()
        assert await watching.beat()
        assert lease.problem is None
    with closing(sqlite3.connect(tmp_path / "state" / "relay.db")) as connection:
        assert connection.execute("SELECT id, beats FROM pulse").fetchall() == [(1, 2)]


async def test_a_store_that_fails_is_noticed_and_what_was_missed_is_stored(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        session, _ = await granted(admin)
        watching, lease = watch(admin)
        broken(tmp_path, "pulse", "sessions")
        assert not await watching.beat()
        assert "pulse" in str(lease.problem)
        assert not (await admin.session_revoke(session))["stored"]
        mended(tmp_path, "pulse", "sessions")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watching.run)
            await eventually(lambda: len(admin.pending) == 0)
            tasks.cancel_scope.cancel()
        assert lease.problem is None


async def test_what_takes_long_to_store_holds_up_no_beat(tmp_path: Path) -> None:
    """A lease that lapsed again meanwhile would refuse agents that were served already."""

    def beats() -> int:
        with closing(sqlite3.connect(tmp_path / "state" / "relay.db")) as connection:
            return int(connection.execute("SELECT beats FROM pulse").fetchone()[0])

    async with an_admin(tmp_path) as admin:
        watching = StoreWatch(admin.store, Lease(0.03), anyio.sleep_forever)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watching.run)
            await eventually(lambda: beats() >= 3)
            tasks.cancel_scope.cancel()


async def test_a_database_that_was_moved_away_is_no_store(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        watching, lease = watch(admin)
        path = tmp_path / "state" / "relay.db"
        away = path.rename(path.with_name("away.db"))
        assert not await watching.beat()
        assert "was moved or replaced" in str(lease.problem)
        path.write_bytes(b"")
        assert not await watching.beat(), "another file is not the database"
        away.replace(path)
        assert await watching.beat()


async def test_it_asks_until_it_is_cancelled(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        watching, lease = watch(admin, 0.03)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watching.run)
            for _ in range(3):
                await asyncio.to_thread(broken, tmp_path, "pulse")
                await eventually(lambda: not lease.held)
                await asyncio.to_thread(mended, tmp_path, "pulse")
                await eventually(lambda: lease.held)
            tasks.cancel_scope.cancel()


async def late(folder: Path, watching: StoreWatch, clock: Clock, seconds: float) -> bool:
    """Beat while another process holds the database for so long by the clock."""
    heard: list[bool] = []

    async def beat() -> None:
        heard.append(await watching.beat())

    with closing(sqlite3.connect(folder / "state" / "relay.db", isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(beat)
            await anyio.wait_all_tasks_blocked()
            clock.now += seconds
            holder.rollback()
    return heard[0]


async def test_a_lease_that_lapsed_begins_anew_whole(tmp_path: Path) -> None:
    """R14: begun where a write was asked for that waited, it would soon have lapsed again."""
    async with an_admin(tmp_path) as admin:
        clock = Clock()
        lease = Lease(3.0, clock)
        watching = StoreWatch(admin.store, lease, admin.pending.flush)
        clock.now += 10
        assert await late(tmp_path, watching, clock, 2.9)
        assert (lease.left, lease.problem) == (3, None)
        clock.now += 10
        assert await late(tmp_path, watching, clock, 4)
        assert (lease.left, lease.problem) == (3, None)


async def test_a_write_that_came_late_for_a_lease_that_is_held(tmp_path: Path) -> None:
    """It would lapse before the next beat, so the store is asked again at once."""
    async with an_admin(tmp_path) as admin:
        clock = Clock()
        lease = Lease(3.0, clock)
        watching = StoreWatch(admin.store, lease, admin.pending.flush)
        assert await late(tmp_path, watching, clock, 2.9)
        assert lease.left == 3
