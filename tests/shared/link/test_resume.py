"""A link whose connection is cut goes on over another: over real sockets, nothing lost or twice."""

import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from shared.errors import CloseCode, PeerError, ResetCode
from shared.wire.limits import KIB, LinkLimits
from tests.shared.link.ends import Drivers, Lane, Sockets, link, sockets, until

PATIENT = LinkLimits(resume_seconds=60)
HASTY = LinkLimits(resume_seconds=0.02)


def has(lane: Lane, size: int) -> bool:
    return len(lane.body) >= size


async def cut(ends: Drivers) -> None:
    ends.sockets.client.abort()
    await until(lambda: ends.relay.driver.detached and ends.client.driver.detached)


@asynccontextmanager
async def another(ends: Drivers) -> AsyncIterator[Sockets]:
    """Dial another connection, and have the link go on over it as both programs do."""
    async with sockets() as fresh:
        there, back = ends.relay.driver.taken, ends.client.driver.taken
        ends.relay.driver.resume(fresh.server, back)
        ends.client.driver.resume(fresh.client, there)
        yield fresh


async def test_calls_go_on_over_another_connection() -> None:
    async with link(PATIENT) as ends:
        calls = [ends.relay.open(body=b"request") for _ in range(5)]
        await until(lambda: len(ends.client.lanes) == 5)
        ends.client.driver.head(calls[0].id, b"200", end=False)
        await until(lambda: calls[0].head)
        await cut(ends)
        assert ends.relay.cuts == ends.client.cuts == [60]
        # What is said meanwhile waits: an answer that goes on, and one that is whole.
        ends.client.driver.data(calls[0].id, b"first ", end=False)
        ends.client.driver.respond(calls[1].id, b"200", b"whole")
        ends.relay.driver.reset(calls[2].id, ResetCode.CANCELLED)
        async with another(ends):
            await until(lambda: calls[1].ended and ends.client.lanes[calls[2].id].resets)
            ends.client.driver.data(calls[0].id, b"last", end=True)
            await until(lambda: calls[0].ended)
            assert bytes(calls[0].body) == b"first last"
            assert bytes(calls[1].body) == b"whole"
            assert not ends.relay.lost
            assert not ends.client.lost
            assert not calls[0].resets


async def test_an_answer_under_way_arrives_whole_over_many_connections() -> None:
    content = bytes(range(256)) * (8 * KIB)
    async with link(PATIENT) as ends:
        call = ends.relay.open(body=b"request")
        await until(lambda: call.id in ends.client.lanes)
        ends.client.driver.head(call.id, b"200", end=False)
        ends.client.driver.data(call.id, content, end=True)
        for part in range(1, 6):
            async with another(ends):
                due = part * len(content) // 6
                await until(functools.partial(has, call, due))
            await until(lambda: ends.relay.driver.detached and ends.client.driver.detached)
        async with another(ends):
            await until(lambda: call.ended)
        assert bytes(call.body) == content


async def test_a_connection_that_is_still_believed_in_is_dropped() -> None:
    async with link(PATIENT) as ends:
        before = ends.sockets.server
        call = ends.relay.open(body=b"request")
        await until(lambda: call.id in ends.client.lanes)
        ends.client.driver.respond(call.id, b"200", b"answer")
        async with another(ends):
            await until(lambda: call.ended and before._lost)
            assert not ends.relay.lost
            assert not ends.relay.driver.detached


async def test_a_link_that_nobody_resumes_tells_every_stream_once() -> None:
    async with link(HASTY) as ends:
        calls = [ends.relay.open() for _ in range(3)]
        await until(lambda: len(ends.client.lanes) == 3)
        ends.sockets.client.abort()
        await until(lambda: ends.relay.lost and ends.client.lost)
        for lane in [*calls, *ends.client.lanes.values()]:
            assert lane.resets == [(ResetCode.UPSTREAM_BROKE, "the link was lost")]
        ((code, why),) = ends.relay.lost
        assert (code, why.partition(":")[0]) == (1006, "the connection broke")
        with pytest.raises(PeerError):
            ends.relay.driver.resume(ends.sockets.server, 0)


async def test_a_link_that_was_closed_waits_for_nobody() -> None:
    async with link(PATIENT) as ends:
        ends.relay.driver.close(CloseCode.REVOKED, "revoked")
        await until(lambda: ends.client.lost)
        assert ends.relay.cuts == ends.client.cuts == []


async def test_a_link_closed_while_it_waits_is_over() -> None:
    async with link(PATIENT) as ends:
        call = ends.relay.open()
        await cut(ends)
        ends.relay.driver.close(CloseCode.REVOKED, "revoked")
        assert ends.relay.lost == [(CloseCode.REVOKED, "revoked")]
        assert call.resets


async def test_a_link_that_waits_opens_nothing_and_takes_so_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.wire.mux.MAX_WAITING_BYTES", 10 * KIB)
    async with link(PATIENT) as ends:
        calls = [ends.relay.request() for _ in range(20)]
        await until(lambda: len(ends.client.lanes) == 20)
        await cut(ends)
        assert ends.relay.driver.full
        for call in calls:
            ends.client.driver.respond(call.id, b"200", bytes(KIB))
        await until(lambda: ends.client.lost)
        assert ends.client.lost[0][0] == CloseCode.TOO_BIG


async def test_a_peer_that_fell_silent_is_waited_for() -> None:
    limits = LinkLimits(ping_interval=0.02, ping_deadline=0.02, resume_seconds=60)
    async with link(limits) as ends:
        call = ends.relay.open()
        ends.sockets.record()
        await until(lambda: ends.relay.driver.detached)
        assert not call.resets
        assert ends.relay.cuts == [60]


async def test_a_closed_connection_is_waited_for_no_longer_than_the_owner_says() -> None:
    async with link(PATIENT) as ends:
        ends.relay.driver._closed = 0.0
        ends.sockets.client.abort()
        await until(lambda: ends.relay.lost)
        assert ends.relay.cuts == []
