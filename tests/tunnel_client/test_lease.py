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


async def test_a_call_that_runs_on_ends_at_the_lease_and_an_idle_child_lives() -> None:
    async with two_sessions() as (peer, busy, idle):
        lease = Lease(0.05, [peer.upstream])
        lease.link_lost(asyncio.get_running_loop().time(), lapsed)
        assert is_alive(busy)
        await eventually(lambda: not is_alive(busy))
        assert is_alive(idle)
        assert (await peer.legacy_call("busy", "echo").done()).status == 404
        assert (await peer.legacy_call("idle", "echo").done()).status == 200


async def test_it_counts_from_the_last_word_not_from_when_the_loss_was_noticed() -> None:
    async with two_sessions() as (peer, busy, _):
        Lease(30.0, [peer.upstream]).link_lost(asyncio.get_running_loop().time() - 30.0, lapsed)
        await eventually(lambda: not is_alive(busy))


async def test_a_link_that_is_back_in_time_ends_nothing() -> None:
    async with two_sessions() as (peer, busy, idle):
        lease = Lease(0.02, [peer.upstream])
        lease.link_lost(asyncio.get_running_loop().time(), lapsed)
        lease.link_up()
        later = Lease(0.05, [])
        later.link_lost(asyncio.get_running_loop().time(), lapsed)
        await eventually(lambda: later._timer is None)
        assert is_alive(busy)
        assert is_alive(idle)
        peer.upstream.lapse()


def test_a_relay_that_pings_more_seldom_than_the_lease_is_refused() -> None:
    Lease(30.0, []).check(LinkLimits())
    with pytest.raises(PingsTooRareError, match="25 s"):
        Lease(24.0, []).check(LinkLimits())
