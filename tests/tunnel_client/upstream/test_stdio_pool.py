import asyncio
import os

import anyio
import pytest
import structlog

from tests.helpers.upstream_peer import command, upstream_of
from tunnel_client.upstream.stdio import StdioUpstream
from tunnel_client.upstream.stdio_command import StdioCommand, StdioLimits
from tunnel_client.upstream.stdio_pool import ChildPool, CrashGuard, RefusedError


def test_waits_grow_with_crashes_in_a_row_and_end_in_quarantine() -> None:
    """L10."""
    guard = CrashGuard(StdioLimits(quarantine_after=4, quarantine=300.0))
    waits = []
    for _ in range(3):
        assert not guard.crashed(0.1, 0.0)
        waits.append(guard.wait(0.0))
    assert waits == [0.0, 0.5, 1.0]
    assert guard.crashed(0.1, 0.0)
    assert guard.wait(0.0) == 300.0
    assert guard.wait(300.0) == 0.0


def test_a_long_life_or_an_answer_ends_the_row() -> None:
    guard = CrashGuard(StdioLimits())
    for _ in range(3):
        guard.crashed(0.1, 0.0)
    guard.crashed(31.0, 10.0)
    assert guard.failures == 1
    guard.crashed(0.1, 10.0)
    guard.works()
    assert guard.failures == 0


async def test_a_program_that_cannot_be_started_is_a_503() -> None:
    upstream = StdioUpstream("none", StdioCommand(("/nonexistent/server",)))
    await upstream.start()
    async with upstream_of() as peer:
        peer.upstream, other = upstream, peer.upstream
        reply = await peer.initialize("s").done()
        assert reply.status == 503
        assert "/nonexistent" not in reply.body.decode()
        assert (await peer.modern_call("echo").done()).status == 503
        peer.upstream = other
    await upstream.aclose()


def _nothing(what: object) -> None:
    pass


async def test_children_that_are_ending_count_for_who_began_them() -> None:
    """L09: to begin and end them in turn would keep all others out too."""
    limits = StdioLimits(children=4, grace=0.1)
    log = structlog.get_logger()
    pool = ChildPool(command(), limits, log, asyncio.get_running_loop().time)
    children = [pool.start(_nothing, _nothing, "a") for _ in range(3)]
    for child in children:
        child.stop()
    with pytest.raises(RefusedError, match="one session"):
        pool.start(_nothing, _nothing, "a")
    pool.start(_nothing, _nothing, "b")
    with pytest.raises(RefusedError, match="as are allowed"):
        pool.start(_nothing, _nothing)
    await pool.aclose()
    assert len(pool) == 0


async def test_children_whose_end_nobody_waits_for_any_more_are_killed() -> None:
    limits = StdioLimits(grace=3600.0)
    log = structlog.get_logger()
    pool = ChildPool(command("deaf"), limits, log, asyncio.get_running_loop().time)
    children = [pool.start(_nothing, _nothing) for _ in range(2)]
    with anyio.CancelScope() as scope:
        scope.cancel()
        await pool.aclose()
    assert len(pool) == 0
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child.pid, 0)
