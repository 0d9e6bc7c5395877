"""Deadlines of exchanges, kept by one coarse timer."""

import asyncio
from itertools import pairwise

from shared.errors import ResetCode
from tests.tunnel_client.upstream.http_support import (
    Seen,
    ask,
    begin,
    call,
    pool,
    raw_server,
    says,
    silence,
)
from tunnel_client.upstream.http import CHECKED_AT_A_TIME

EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_an_upstream_that_never_answers_runs_into_the_deadline() -> None:
    async with (
        raw_server(silence) as server,
        pool(server.url, head_seconds=0.05) as upstream,
    ):
        reply = await ask(upstream)
        assert reply.failure is not None
        assert reply.failure[0] is ResetCode.TIMEOUT
        await server.until(lambda: bool(server.seen) and server.open == 0)
        assert len(server.seen) == 1


async def test_a_body_that_falls_silent_runs_into_the_deadline() -> None:
    start = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"
    async with (
        raw_server(says(start)) as server,
        pool(server.url, silence_seconds=0.05) as upstream,
    ):
        reply = await ask(upstream)
        assert reply.told == ["head", "data", "fail"]
        assert reply.failure is not None
        assert reply.failure[0] is ResetCode.TIMEOUT


async def test_an_event_stream_may_be_silent_and_so_may_one_whose_reader_pauses() -> None:
    gate = asyncio.Event()
    plain = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab"

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        get = seen.start.startswith(b"GET")
        writer.write(EVENTS if get else plain)
        await gate.wait()
        writer.write(b"0\r\n\r\n" if get else b"cd")

    async with (
        raw_server(answer) as server,
        pool(server.url, silence_seconds=0.5, head_seconds=0.5) as upstream,
    ):
        _, stream = begin(upstream, call(http="GET"))
        paused_exchange, paused = begin(upstream, room=1)
        await stream.until(lambda: stream.status == 200)
        await paused.until(lambda: paused.body == b"ab")
        # A third exchange that does run into the deadline shows that enough time has passed.
        _, late = begin(upstream)
        await late.until(lambda: late.ended)
        assert late.failure is not None
        assert not stream.ended
        assert not paused.ended
        gate.set()
        paused.room = 100
        paused_exchange.resume()
        assert (await paused.done()).body == b"abcd"
        assert (await stream.done()).failure is None


async def test_of_many_deadlines_other_work_is_done_between_some_and_the_next() -> None:
    many = 3 * CHECKED_AT_A_TIME
    async with (
        raw_server(silence) as server,
        pool(server.url, connections=many, sweep_seconds=0.7, head_seconds=0.5) as upstream,
    ):
        replies = [begin(upstream)[1] for _ in range(many)]
        ended: list[int] = []

        def ask_again() -> None:
            ended.append(sum(reply.ended for reply in replies))
            if ended[-1] < many:
                asyncio.get_running_loop().call_soon(ask_again)

        ask_again()
        for reply in replies:
            failure = (await reply.done()).failure
            assert failure is not None
            assert failure[0] is ResetCode.TIMEOUT
        steps = [after - before for before, after in pairwise(ended)]
        assert max(steps) <= CHECKED_AT_A_TIME
