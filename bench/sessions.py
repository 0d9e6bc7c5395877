"""What 100,000 sessions cost a relay: `python -m bench.sessions [COUNT]`."""

import asyncio
import io
import os
import sys
import tempfile
import time
import timeit
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy.sql import insert

from shared.ids import SESSION_PREFIX, new_id, new_token, token_digest
from tunnel_relay.admin.runtime import open_admin
from tunnel_relay.admin.service import Admin
from tunnel_relay.init import Wanted, init
from tunnel_relay.quotas import Quota, Quotas
from tunnel_relay.settings import Settings
from tunnel_relay.store.base import JoinCode, Session, Tunnel
from tunnel_relay.store.sql import SqlStore
from tunnel_relay.store.tables import SESSIONS

USERS = 1000
BATCH = 5000


def resident_mib() -> float:
    """Memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def a_session(number: int, now: float) -> Session:
    """One of many sessions; those of a user differ in agent and server."""
    return Session(
        id=new_id(),
        digest=token_digest(new_token(SESSION_PREFIX)),
        user=f"user{number % USERS}@example.com",
        agent=f"agent{number % 7}",
        tunnel="office",
        upstream=f"server{number % 13}",
        created=now,
        expires=now + 86400,
        idle=86400.0,
        last_used=now,
        granted_by="operator",
    )


async def fill(settings: Settings, count: int) -> str:
    """Store sessions and return the token of one more."""
    now = time.time()
    token = new_token(SESSION_PREFIX)
    store = await SqlStore.open(settings.database)
    await store.add_tunnel(Tunnel("office", "ada", now), JoinCode(b"x" * 32, "office", now, now))
    mine = asdict(a_session(0, now)) | {"digest": token_digest(token)}
    rows = [mine, *(asdict(a_session(number, now)) for number in range(count))]
    for start in range(0, len(rows), BATCH):
        async with store.transaction() as connection:
            await connection.execute(insert(SESSIONS), rows[start : start + BATCH])
    await store.close()
    return token


async def measure(settings: Settings, token: str) -> None:
    """Print what opening them takes, and what a verdict does."""
    before, began = resident_mib(), time.perf_counter()
    async with open_admin(settings, serving=True) as admin:
        took = time.perf_counter() - began
        print(f"start-up        {took:.2f} s")
        print(f"memory          {resident_mib() - before:.0f} MiB for {len(admin.sessions.all())}")
        found = admin.sessions.find(token, time.time())
        assert found is not None
        quotas = Quotas(Quota(200_000, 256), Quota(500_000, 1024))

        def limited() -> None:
            quotas.take(found, time.monotonic())
            quotas.begin(found, 0.0)
            quotas.end(found)

        for name, act in {
            "find": lambda: admin.sessions.find(token, time.time()),
            "again": lambda: admin.sessions.again(found, time.time()),
            "state": lambda: admin.sessions.state(found.id, time.time()),
            "limits": limited,
        }.items():
            seconds = min(timeit.repeat(act, number=20_000, repeat=5)) / 20_000
            print(f"{name:<15} {seconds * 1e6:.2f} us")
        await list_them(admin)
        for session in admin.sessions.all():
            admin.sessions.again(session, time.time())
        stall, took = await longest_stall(admin.flush_last_used)
        print(f"flush of all    {took:.2f} s, longest stall {stall * 1000:.0f} ms")
        admin.clock = lambda: time.time() + 7 * 86400
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(io.StringIO()))
        stall, took = await longest_stall(admin.end_by_time)
        print(f"end of all      {took:.2f} s, longest stall {stall * 1000:.0f} ms")


async def list_them(admin: Admin) -> None:
    """Print what a page of the list costs: the first, the last, one of a search that finds few."""
    count = len(admin.sessions.all())
    pages: dict[str, dict[str, Any]] = {
        "a page": {},
        "its successor": {"after": (await admin.session_list())["next"]},
        "a search": {"query": "user77@"},
        "of all": {"state": "all"},
    }
    for name, wanted in pages.items():
        found = await admin.session_list(**wanted)
        stall, took = await longest_stall(partial(admin.session_list, **wanted))
        shown = f"{len(found['sessions'])} of {count}"
        print(f"{name:<15} {took * 1000:.0f} ms, longest stall {stall * 1000:.0f} ms, {shown}")


async def longest_stall(act: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Return for how long at most nothing else ran while `act` did, and how long it took; s."""
    worst, last = 0.0, time.perf_counter()

    async def beat() -> None:
        nonlocal worst, last
        while True:
            await asyncio.sleep(0)
            worst, last = max(worst, time.perf_counter() - last), time.perf_counter()

    beating = asyncio.create_task(beat())
    await asyncio.sleep(0)
    began = last = time.perf_counter()
    await act()
    took = time.perf_counter() - began
    await asyncio.sleep(0)
    beating.cancel()
    return worst, took


def main() -> None:
    """Fill a database in a process of its own, then open it in this one."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory(prefix="sessions-") as folder:
        state = Path(folder, "state")
        wanted = Wanted(Path(folder, "relay.toml"), state, "https://r.example.com", "127.0.0.1", 1)
        settings = init(wanted)
        token = asyncio.run(fill(settings, count))
        reader = os.fork()
        if reader == 0:
            os.execv(  # noqa: S606 - this very program, so that memory is that of opening alone
                sys.executable,
                [sys.executable, "-m", "bench.sessions", "--open", str(folder), token],
            )
        os.waitpid(reader, 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--open"]:
        place = Path(sys.argv[2])
        opened = Settings(public_url=("https://r.example.com",), state_dir=place / "state")
        asyncio.run(measure(opened, sys.argv[3]))
    else:
        main()
