"""The pool: connections are reused, bounded and closed; no request is ever sent twice."""

import asyncio
import gc
import socket
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest

from shared.errors import ResetCode
from tests.tunnel_client.upstream.http_support import (
    OK,
    Recorder,
    Seen,
    ask,
    begin,
    call,
    eventually,
    pool,
    raw_server,
    says,
    silence,
)
from tunnel_client.upstream.base import Headers, UpstreamRequest
from tunnel_client.upstream.http import HttpUpstream
from tunnel_client.upstream.http_target import HttpLimits, target_from


def code(reply: Recorder) -> ResetCode | None:
    return None if reply.failure is None else reply.failure[0]


class Gate:
    """Answers every request only when told to."""

    def __init__(self) -> None:
        self.permits = asyncio.Semaphore(0)

    async def __call__(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        await self.permits.acquire()
        writer.write(OK)

    def let(self, count: int) -> None:
        for _ in range(count):
            self.permits.release()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_exchanges_one_after_another_use_one_connection() -> None:
    async with raw_server(says(OK)) as server, pool(server.url) as upstream:
        for _ in range(50):
            assert (await ask(upstream)).status == 200
    assert len(server.seen) == 50
    assert server.connections == 1


async def test_exchanges_at_once_use_as_many_connections_and_those_again() -> None:
    gate = Gate()
    async with raw_server(gate) as server, pool(server.url) as upstream:
        for _ in range(3):
            server.seen.clear()
            replies = [begin(upstream)[1] for _ in range(16)]
            await server.until(lambda: len(server.seen) == 16)
            gate.let(16)
            for reply in replies:
                assert (await reply.done()).status == 200
            assert len(server.seen) == 16
    assert server.connections == 16


async def test_the_connection_used_last_is_used_next() -> None:
    gate = Gate()
    async with raw_server(gate) as server, pool(server.url) as upstream:
        replies = [begin(upstream)[1] for _ in range(5)]
        await server.until(lambda: len(server.seen) == 5)
        gate.let(5)
        for reply in replies:
            await reply.done()
        gate.let(10)
        for _ in range(10):
            await ask(upstream)
    assert len({seen.connection for seen in server.seen[5:]}) == 1


async def test_connections_are_capped_and_exchanges_wait_their_turn() -> None:
    gate = Gate()
    async with raw_server(gate) as server, pool(server.url, connections=2) as upstream:
        replies = [begin(upstream, call(id=n))[1] for n in range(10)]
        await server.until(lambda: len(server.seen) == 2)
        gate.let(10)
        for reply in replies:
            assert (await reply.done()).status == 200
    assert server.connections == 2
    assert [seen.body for seen in server.seen][2:] == [call(id=n).body for n in range(2, 10)]


async def test_more_than_may_wait_are_refused_and_nothing_of_them_is_sent() -> None:
    gate = Gate()
    async with raw_server(gate) as server, pool(server.url, connections=1, waiting=3) as upstream:
        _, first = begin(upstream)
        await server.until(lambda: len(server.seen) == 1)
        waiting = [begin(upstream)[1] for _ in range(3)]
        _, refused = begin(upstream)
        assert refused.told == []
        assert code(await refused.done()) is ResetCode.REFUSED
        gate.let(4)
        for reply in [first, *waiting]:
            assert (await reply.done()).status == 200
    assert len(server.seen) == 4


async def test_who_waits_too_long_is_refused_and_nothing_of_it_is_sent() -> None:
    limits: dict[str, Any] = {"connections": 1, "waiting_seconds": 0.05}
    async with raw_server(silence) as server, pool(server.url, **limits) as upstream:
        begin(upstream)
        await server.until(lambda: len(server.seen) == 1)
        assert code(await ask(upstream)) is ResetCode.REFUSED
        assert len(server.seen) == 1


async def test_cancel_while_waiting_gives_the_place_to_the_next() -> None:
    gate = Gate()
    async with raw_server(gate) as server, pool(server.url, connections=1, waiting=1) as upstream:
        begin(upstream)
        await server.until(lambda: len(server.seen) == 1)
        waiting, silent = begin(upstream)
        waiting.cancel()
        _, reply = begin(upstream, call(id="kept"))
        gate.let(2)
        assert (await reply.done()).status == 200
        assert silent.told == []
    assert [seen.body for seen in server.seen] == [call().body, call(id="kept").body]


async def test_no_listener_is_unreachable_and_says_no_address() -> None:
    port = closed_port()
    async with pool(f"http://127.0.0.1:{port}/") as upstream:
        replies = [begin(upstream)[1] for _ in range(20)]
        for reply in replies:
            assert code(await reply.done()) is ResetCode.UPSTREAM_UNREACHABLE
            assert reply.failure is not None
            assert str(port) not in reply.failure[1]
            assert "127.0.0.1" not in reply.failure[1]


async def test_an_upstream_that_comes_up_later_is_reached(tmp_path: Path) -> None:
    path = str(tmp_path / "u.sock")
    async with pool(f"unix:{path}:/mcp") as upstream:
        assert code(await ask(upstream)) is ResetCode.UPSTREAM_UNREACHABLE
        async with raw_server(says(OK), unix=path) as server:
            assert (await ask(upstream)).status == 200
        assert server.seen[0].header(b"host") == b"localhost"
        assert server.seen[0].start == b"POST /mcp HTTP/1.1"


async def test_an_unknown_name_is_unreachable() -> None:
    async with pool("http://does-not-exist.invalid/") as upstream:
        reply = await ask(upstream)
    assert code(reply) is ResetCode.UPSTREAM_UNREACHABLE


async def test_an_upstream_that_never_finishes_the_handshake_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        async with pool(url, connect_seconds=0.05) as upstream:
            reply = await ask(upstream)
    assert reply.failure == (
        ResetCode.UPSTREAM_UNREACHABLE,
        "no connection to the upstream: timed out",
    )


async def test_a_request_that_dies_on_a_reused_connection_is_not_sent_again() -> None:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if len(server.seen) == 2:
            writer.close()
        else:
            writer.write(OK)

    async with raw_server(answer) as server, pool(server.url) as upstream:
        await ask(upstream)
        assert code(await ask(upstream, call(id="once"))) is ResetCode.UPSTREAM_BROKE
        assert (await ask(upstream)).status == 200
    assert [seen.body for seen in server.seen].count(call(id="once").body) == 1
    assert server.connections == 2


async def test_a_connection_the_upstream_closed_while_idle_is_not_used() -> None:
    async def closes_while_idle(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await eventually(lambda: len(upstream._idle) == 1)
        writer.close()

    async with raw_server(closes_while_idle) as server, pool(server.url) as upstream:
        for _ in range(20):
            assert (await ask(upstream)).status == 200
            await eventually(lambda: not upstream._connections)
            assert not upstream._idle
    assert server.connections == 20


async def test_a_connection_idle_for_some_seconds_is_left_for_a_fresh_one() -> None:
    async with raw_server(says(OK)) as server, pool(server.url, fresh_seconds=0.0) as upstream:
        for _ in range(3):
            assert (await ask(upstream)).status == 200
    assert server.connections == 3


async def test_it_is_used_all_the_same_where_no_other_may_be_dialled() -> None:
    limits: dict[str, Any] = {"fresh_seconds": 0.0, "connections": 1}
    async with raw_server(says(OK)) as server, pool(server.url, **limits) as upstream:
        for _ in range(3):
            assert (await ask(upstream)).status == 200
    assert server.connections == 1


def test_a_connection_that_is_too_old_to_be_used_is_not_kept() -> None:
    limits = HttpLimits()
    assert limits.fresh_seconds < limits.idle_seconds <= limits.fresh_seconds + 1


async def test_idle_connections_are_closed_in_time() -> None:
    gate = Gate()
    async with raw_server(gate) as server, pool(server.url, idle_seconds=0.05) as upstream:
        replies = [begin(upstream)[1] for _ in range(8)]
        gate.let(8)
        for reply in replies:
            await reply.done()
        await server.until(lambda: server.open == 0)
        gate.let(1)
        assert (await ask(upstream)).status == 200
    assert server.connections == 9


async def test_a_lost_connection_makes_room_for_who_waits() -> None:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if len(server.seen) == 1:
            await gate.wait()
            writer.transport.abort()
        else:
            writer.write(OK)

    gate = asyncio.Event()
    async with raw_server(answer) as server, pool(server.url, connections=1) as upstream:
        _, broken = begin(upstream)
        _, waiting = begin(upstream)
        gate.set()
        assert code(await broken.done()) is ResetCode.UPSTREAM_BROKE
        assert (await waiting.done()).status == 200


@pytest.mark.parametrize("http", ["PUT", "HEAD", "CONNECT", "OPTIONS", "post", "GET /x\r\n"])
async def test_other_methods_are_not_sent(http: str) -> None:
    async with raw_server(says(OK)) as server, pool(server.url) as upstream:
        reply = await ask(upstream, call(http=http))
        assert reply.status == 405
    assert server.connections == 0


@pytest.mark.parametrize(
    "header", [(b"x-a", b"1\r\nX-Evil: 1"), (b"x-a", b"\n"), (b"x a", b"1"), (b"", b"1")]
)
async def test_headers_that_would_smuggle_are_not_sent(header: tuple[bytes, bytes]) -> None:
    async with raw_server(says(OK)) as server, pool(server.url) as upstream:
        reply = await ask(upstream, call(headers=[header]))
        assert reply.status == 400
        assert reply.error()["id"] == 7
        assert reply.error()["data"]["delivery"] == "never_sent"
        assert b"Evil" not in reply.body
    assert server.connections == 0


async def test_what_is_injected_takes_the_place_of_what_the_agent_sent() -> None:
    def inject(request: UpstreamRequest) -> Headers:
        return [(b"authorization", b"Bearer for-" + request.session.encode())]

    async with raw_server(says(OK)) as server, pool(server.url, inject) as upstream:
        await ask(upstream, call(headers=[(b"authorization", b"agent")]))
    assert server.seen[0].header(b"authorization") == b"Bearer for-5e55104a"


async def test_what_cannot_be_injected_is_refused_without_being_shown() -> None:
    def inject(request: UpstreamRequest) -> Headers:
        return [(b"authorization", b"Bearer secret\r\nX: 1")]

    async with raw_server(says(OK)) as server, pool(server.url, inject) as upstream:
        reply = await ask(upstream)
        assert code(reply) is ResetCode.REFUSED
        assert "secret" not in str(reply.failure)
    assert server.connections == 0


async def test_no_reply_hears_anything_before_open_has_returned() -> None:
    async with pool(f"http://127.0.0.1:{closed_port()}/") as upstream:
        for request in [call(http="PUT"), call(headers=[(b"", b"")]), call(mcp_session="gone")]:
            exchange, reply = begin(upstream, request)
            assert reply.told == []
            exchange.cancel()
            # A turn of the loop later the answer would have come.
            await asyncio.sleep(0)
            assert reply.told == []
            assert (await ask(upstream, request)).ended


async def test_before_the_start_and_after_the_end_everything_is_refused() -> None:
    upstream = HttpUpstream("private", target_from("http://127.0.0.1:1/"))
    assert code(await ask(upstream)) is ResetCode.REFUSED
    await upstream.start()
    await upstream.aclose()
    assert code(await ask(upstream)) is ResetCode.REFUSED


async def test_the_end_leaves_nothing_behind() -> None:
    before = asyncio.all_tasks()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(raw_server(silence))
        hung = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        running = HttpUpstream("a", target_from(server.url, limits=HttpLimits(connections=2)))
        dialling = HttpUpstream("b", target_from(f"https://127.0.0.1:{hung.getsockname()[1]}/"))
        await running.start()
        await dialling.start()
        replies = [begin(running)[1] for _ in range(5)] + [begin(dialling)[1]]
        await server.until(lambda: len(server.seen) == 2)
        with anyio.fail_after(10):
            await running.aclose()
            await dialling.aclose()
        codes = [code(reply) for reply in replies]
        assert codes == [ResetCode.UPSTREAM_BROKE] * 2 + [ResetCode.REFUSED] * 4
        assert not running._connections
        await server.until(lambda: server.open == 0)
    assert asyncio.all_tasks() == before


async def test_ten_thousand_exchanges_leave_descriptors_tasks_and_memory_as_they_were() -> None:
    async with raw_server(says(OK)) as server, pool(server.url) as upstream:

        async def rounds(count: int) -> tuple[int, int, int]:
            for _ in range(count):
                assert (await ask(upstream)).status == 200
            server.seen.clear()
            gc.collect()
            return descriptors(), len(asyncio.all_tasks()), len(gc.get_objects())

        before = await rounds(100)
        after = await rounds(10_000)
    assert after[:2] == before[:2]
    assert after[2] - before[2] < 500
    assert server.connections == 1
