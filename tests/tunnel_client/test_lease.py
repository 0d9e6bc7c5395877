"""What agents began ends when the relay was silent for the lease, and no sooner."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from shared.wire.limits import LinkLimits
from tests.helpers.upstream_peer import Peer, eventually, is_alive, upstream_of
from tunnel_client.errors import PingsTooRareError
from tunnel_client.lease import Lease


@asynccontextmanager
async def two_sessions() -> AsyncIterator[tuple[Peer, int, int]]:
    """Have a legacy MCP session with a call that its agent left, and an idle one; with pids."""
    async with upstream_of() as peer:
        pids = []
        for name in ("busy", "idle"):
            assert (await peer.initialize(name).done()).status == 200
            reply = await peer.legacy_call(name, "facts").done()
            pids.append(int(json.loads(reply.text)["pid"]))
        held = peer.legacy_call("busy", "hold", {"key": "k"}, id=2)
        assert held.exchange is not None
        held.exchange.cancel()  # as a lost link does
        yield peer, pids[0], pids[1]


def lapsed() -> None:
    """There is no link that waits for another connection."""


def cut(lease: Lease, link: str, heard: float = 0.0) -> None:
    """Have a link up, and lost; its last word came `heard` seconds ago."""
    lease.link_up(link)
    lease.link_lost(link, asyncio.get_running_loop().time() - heard, lapsed)


async def test_a_call_that_runs_on_ends_at_the_lease_and_an_idle_child_lives() -> None:
    async with two_sessions() as (peer, busy, idle):
        cut(Lease(0.05, [peer.upstream]), "only")
        assert is_alive(busy)
        await eventually(lambda: not is_alive(busy))
        assert is_alive(idle)
        assert (await peer.legacy_call("busy", "echo").done()).status == 404
        assert (await peer.legacy_call("idle", "echo").done()).status == 200


async def test_it_counts_from_the_last_word_not_from_when_the_loss_was_noticed() -> None:
    async with two_sessions() as (peer, busy, _):
        cut(Lease(30.0, [peer.upstream]), "only", heard=30.0)
        await eventually(lambda: not is_alive(busy))


async def until_later() -> None:
    """Wait until a lease of 0.05 s is over."""
    later = Lease(0.05, [])
    cut(later, "later")
    await eventually(lambda: not later._timers)


async def test_a_link_that_is_back_in_time_ends_nothing() -> None:
    async with two_sessions() as (peer, busy, idle):
        lease = Lease(0.02, [peer.upstream])
        cut(lease, "only")
        lease.link_up("only")
        await until_later()
        assert is_alive(busy)
        assert is_alive(idle)
        peer.upstream.lapse()


async def test_while_the_relay_is_heard_on_another_link_nothing_ends() -> None:
    async with two_sessions() as (peer, busy, idle):
        lease = Lease(0.02, [peer.upstream])
        lease.link_up("other")
        cut(lease, "one", heard=30.0)
        await until_later()
        assert is_alive(busy)
        assert is_alive(idle)
        lease.link_lost("other", asyncio.get_running_loop().time(), lapsed)
        await eventually(lambda: not is_alive(busy))


def test_a_relay_that_pings_more_seldom_than_the_lease_is_refused() -> None:
    Lease(30.0, []).check(LinkLimits())
    with pytest.raises(PingsTooRareError, match="25 s"):
        Lease(24.0, []).check(LinkLimits())
