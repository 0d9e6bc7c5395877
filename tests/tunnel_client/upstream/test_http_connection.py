"""One exchange on one real connection, against servers that behave and servers that do not."""

import asyncio
import hashlib
import socket

import pytest

from shared.errors import ResetCode
from tests.tunnel_client.upstream.http_support import (
    OK,
    Answer,
    Recorder,
    Seen,
    ask,
    begin,
    call,
    pool,
    raw_server,
    response,
    says,
    says_and_closes,
    silence,
)
from tests.tunnel_client.upstream.test_http_response import BROKEN

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def test_a_call_and_its_answer() -> None:
    async with raw_server(says(OK)) as server, pool(server.url) as upstream:
        reply = await ask(upstream, call(headers=[(b"mcp-method", b"tools/call")]))
    assert reply.status == 200
    assert reply.headers == [(b"content-type", b"application/json"), (b"content-length", b"2")]
    assert reply.body == b"{}"
    assert reply.told == ["head", "data"]
    (seen,) = server.seen
    assert seen.start == b"POST /mcp HTTP/1.1"
    assert seen.header(b"host") == b"127.0.0.1:%d" % server.port
    assert seen.header(b"accept-encoding") == b"identity"
    assert seen.header(b"mcp-method") == b"tools/call"
    assert seen.body == call().body


async def test_an_answer_without_body_is_one_head() -> None:
    accepted = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
    async with raw_server(says(accepted)) as server, pool(server.url) as upstream:
        reply = await ask(upstream)
        assert (reply.status, reply.told) == (202, ["head"])
        await ask(upstream)
    assert server.connections == 1


async def test_every_status_but_a_redirect_passes_unchanged() -> None:
    statuses = [200, 201, 202, 400, 401, 403, 404, 405, 410, 429, 500, 503]
    answers = [response(b"X-A: 1", status=b"%d X" % s, body=b"%d" % s) for s in statuses]
    async with raw_server(says(*answers)) as server, pool(server.url) as upstream:
        for status in statuses:
            reply = await ask(upstream)
            assert (reply.status, reply.body) == (status, b"%d" % status)
            assert reply.header(b"x-a") == b"1"


async def test_credentials_and_origins_of_the_agent_stop_here() -> None:
    evil = [
        (b"host", b"evil"),
        (b"Origin", b"https://evil"),
        (b"authorization", b"Bearer evil"),
        (b"Cookie", b"a=evil"),
        (b"x-forwarded-for", b"evil"),
        (b"mcp-session-id", b"evil"),
        (b"accept-encoding", b"gzip, evil"),
        (b"connection", b"x-named"),
        (b"x-named", b"evil"),
    ]
    async with raw_server(says(OK)) as server, pool(server.url) as upstream:
        await ask(upstream, call(headers=evil))
    assert b"evil" not in server.seen[0].raw


async def test_challenges_and_cookies_of_the_upstream_stop_here() -> None:
    answer = response(
        b'WWW-Authenticate: Bearer scope="x"',
        b"Set-Cookie: a=b",
        b"Server: x",
        b"Date: today",
        b"Connection: keep-alive",
        b"Mcp-Session-Id: U1",
        status=b"401 Unauthorized",
    )
    async with raw_server(says(answer)) as server, pool(server.url) as upstream:
        reply = await ask(upstream)
    assert reply.status == 401
    assert reply.names == {b"content-length"}


@pytest.mark.parametrize("status", [b"301 M", b"302 F", b"303 S", b"307 T", b"308 P"])
async def test_a_redirect_is_refused_and_its_target_hears_nothing(status: bytes) -> None:
    async with raw_server(says(OK)) as attacker:
        redirect = response(b"Location: " + attacker.url.encode(), status=status)
        async with raw_server(says(redirect, OK)) as server, pool(server.url) as upstream:
            reply = await ask(upstream, call(id="x1"))
            assert reply.status == 502
            assert b"location" not in reply.names
            assert str(attacker.port).encode() not in reply.body
            error = reply.error()
            assert error["id"] == "x1"
            assert "redirect refused" in error["message"]
            assert error["data"] == {"origin": "client", "delivery": "unknown"}
            assert not -32768 <= error["code"] <= -32000
            assert (await ask(upstream)).status == 200
        assert attacker.connections == 0


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"deflate", b"zstd", b"x-evil"])
async def test_an_encoded_body_is_refused(coding: bytes) -> None:
    answer = response(b"Content-Encoding: " + coding, body=b"\x1f\x8bsecret")
    async with raw_server(says(answer, OK)) as server, pool(server.url) as upstream:
        reply = await ask(upstream)
        assert reply.status == 502
        assert b"secret" not in reply.body
        assert (await ask(upstream)).status == 200
    assert server.connections == 2


@pytest.mark.parametrize(
    "line", [b"X: " + b"x" * 40_000, b"\r\n".join(b"X-%d: 1" % n for n in range(101))]
)
async def test_too_large_a_head_is_refused(line: bytes) -> None:
    async with raw_server(says(response(line), OK)) as server, pool(server.url) as upstream:
        reply = await ask(upstream)
        assert reply.status == 502
        assert reply.error()["id"] == 7
        assert (await ask(upstream)).status == 200


@pytest.mark.parametrize("data", BROKEN)
async def test_what_is_not_http_breaks_one_exchange_and_the_pool_lives_on(data: bytes) -> None:
    async with raw_server(says(data, OK)) as server, pool(server.url) as upstream:
        reply = await ask(upstream)
        assert reply.failure is not None
        assert reply.failure[0] is ResetCode.UPSTREAM_BROKE
        assert (await ask(upstream)).status == 200
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        says_and_closes(b""),
        says_and_closes(b"HTTP/1.1 200 OK\r\nContent-"),
        says_and_closes(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"),
        says_and_closes(CHUNKED + chunk(b"abc")),
        says_and_closes(CHUNKED + chunk(b"abc") + b"0\r\n"),
    ],
)
async def test_a_response_cut_short_is_of_unknown_outcome(answer: Answer) -> None:
    async with raw_server(answer) as server, pool(server.url) as upstream:
        reply = await ask(upstream)
    assert reply.failure is not None
    assert reply.failure[0] is ResetCode.UPSTREAM_BROKE
    assert len(server.seen) == 1


async def test_a_body_that_ends_with_the_connection_is_whole() -> None:
    answer = says_and_closes(response(b"X-A: 1", length=False, body=b"until the end"))
    async with raw_server(answer) as server, pool(server.url) as upstream:
        for _ in range(2):
            reply = await ask(upstream)
            assert reply.body == b"until the end"
            assert reply.failure is None
            assert b"content-length" not in reply.names
    assert server.connections == 2


async def test_bytes_after_a_response_never_reach_the_next_exchange() -> None:
    poisoned = OK + response(b"X-Evil: 1", body=b"evil")
    async with raw_server(says(poisoned, OK)) as server, pool(server.url) as upstream:
        for _ in range(2):
            reply = await ask(upstream)
            assert reply.status == 200
            assert b"evil" not in reply.body
            assert b"x-evil" not in reply.names
    assert server.connections == 2


async def test_what_an_idle_connection_says_closes_it() -> None:
    speak = asyncio.Event()

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        if len(server.seen) == 1:
            await speak.wait()
            writer.write(response(body=b"evil"))

    async with raw_server(answer) as server, pool(server.url) as upstream:
        await ask(upstream)
        speak.set()
        await server.until(lambda: server.open == 0)
        assert (await ask(upstream)).body == b"{}"
    assert server.connections == 2


async def test_interim_responses_are_not_for_the_agent() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    async with raw_server(says(interim + OK)) as server, pool(server.url) as upstream:
        for _ in range(2):
            reply = await ask(upstream)
            assert (reply.status, reply.body) == (200, b"{}")
            assert b"link" not in reply.names
    assert server.connections == 1


async def test_an_event_stream_passes_event_by_event() -> None:
    step = asyncio.Semaphore(0)

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(EVENTS)
        for n in range(20):
            await step.acquire()
            writer.write(chunk(b"data: %d\n\n" % n))
        await step.acquire()
        writer.write(b"0\r\n\r\n")

    async with raw_server(answer) as server, pool(server.url) as upstream:
        _, reply = begin(upstream)
        # The head is passed on before there is any event.
        await reply.until(lambda: reply.status == 200)
        assert reply.chunks == []
        for n in range(20):
            step.release()
            await reply.until(lambda n=n: len(reply.chunks) == n + 1)  # type: ignore[misc]
            assert reply.chunks[n] == b"data: %d\n\n" % n
            assert not reply.ended
        step.release()
        assert (await reply.done()).failure is None


async def test_every_byte_of_a_slow_response_passes_at_once() -> None:
    step = asyncio.Semaphore(0)
    body = b'{"slow":1}'

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        for n in range(len(body)):
            await step.acquire()
            writer.write(body[n : n + 1])

    async with raw_server(answer) as server, pool(server.url) as upstream:
        _, reply = begin(upstream)
        for n in range(len(body)):
            await reply.until(lambda n=n: len(reply.body) == n)  # type: ignore[misc]
            step.release()
        assert (await reply.done()).body == body


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_reply_that_pauses_stops_the_upstream_and_loses_no_byte(chunked: bool) -> None:
    body = bytes(range(256)) * 4096 * 16  # 16 MiB
    start = CHUNKED if chunked else b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    sent = 0

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(start)
        for at in range(0, len(body), 65536):
            piece = body[at : at + 65536]
            writer.write(chunk(piece) if chunked else piece)
            await writer.drain()
            sent = at
        if chunked:
            writer.write(b"0\r\n\r\n")

    async with raw_server(answer) as server, pool(server.url) as upstream:
        exchange, reply = begin(upstream, room=100_000)
        pauses = 0
        while not reply.ended:
            await reply.until(lambda: reply.ended or (reply.room or 0) <= 0)
            if pauses == 0:
                # Bounded by the buffers of the kernel and of the server, far from the whole.
                assert sent < len(body) * 3 // 4
            pauses += 1
            reply.room = 1_000_000
            exchange.resume()
        assert pauses > 5
        assert hashlib.sha256(reply.body).digest() == hashlib.sha256(body).digest()
        # The connection goes back un-paused.
        _, again = begin(upstream)
        assert (await again.done()).body == body
    assert server.connections == 1


async def test_resume_after_the_end_and_without_pause_does_nothing() -> None:
    async with raw_server(says(OK)) as server, pool(server.url) as upstream:
        exchange, reply = begin(upstream)
        exchange.resume()
        await reply.done()
        exchange.resume()
        exchange.cancel()
        assert (await ask(upstream)).status == 200
    assert server.connections == 1


async def test_cancel_closes_the_connection_and_the_reply_stays_silent() -> None:
    async with raw_server(silence) as server, pool(server.url) as upstream:
        exchange, reply = begin(upstream)
        await server.until(lambda: len(server.seen) == 1)
        exchange.cancel()
        await server.until(lambda: server.open == 0)
        exchange.cancel()
        exchange.resume()
        assert reply.told == []


async def test_cancel_of_an_old_exchange_leaves_the_next_one_alone() -> None:
    gate = asyncio.Event()

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if len(server.seen) == 2:
            await gate.wait()
        writer.write(OK)

    async with raw_server(answer) as server, pool(server.url) as upstream:
        old, first = begin(upstream)
        await first.done()
        _, second = begin(upstream)
        old.cancel()
        old.resume()
        gate.set()
        assert (await second.done()).status == 200
    assert server.connections == 1


async def test_cancel_from_within_the_reply_is_heeded() -> None:
    class Fickle(Recorder):
        def head(self, status: int, headers: list[tuple[bytes, bytes]], end: bool = False) -> None:
            super().head(status, headers, end)
            exchange.cancel()

    async with raw_server(says(EVENTS + chunk(b"data: 1\n\n"))) as server, pool(server.url) as up:
        reply = Fickle()
        exchange = up.open(call(), reply)
        await reply.until(lambda: reply.status is not None)
        await server.until(lambda: server.open == 0)
        assert reply.told == ["head"]


async def test_an_exchange_opened_from_within_the_reply_uses_the_same_connection() -> None:
    class Chain(Recorder):
        def data(self, chunk: bytes, end: bool = False) -> bool:
            more = super().data(chunk, end)
            upstream.open(call(), last)
            return more

    async with raw_server(says(OK)) as server, pool(server.url) as upstream:
        last = Recorder()
        upstream.open(call(), Chain())
        assert (await last.done()).status == 200
    assert server.connections == 1


async def test_a_large_request_arrives_whole() -> None:
    body = bytes(range(256)) * 4096 * 4  # 4 MiB
    async with raw_server(says(OK)) as server, pool(server.url) as upstream:
        for _ in range(2):
            assert (await ask(upstream, call(body=body))).status == 200
    assert [seen.body == body for seen in server.seen] == [True, True]
    assert server.connections == 1


async def test_an_answer_before_the_request_is_read_is_passed_on_and_ends_the_connection() -> None:
    got = asyncio.Event()

    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response(status=b"413 Too Large"))
        await got.wait()
        writer.close()

    server = await asyncio.start_server(hasty, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, pool(f"http://127.0.0.1:{port}/") as upstream:
        reply = await ask(upstream, call(body=b"x" * (16 << 20)))
        assert reply.status == 413
        assert not upstream._idle
        got.set()


async def test_small_packets_leave_at_once() -> None:
    async with raw_server(says(OK)) as server, pool(server.url) as upstream:
        await ask(upstream)
        (connection,) = upstream._connections
        endpoint = connection._transport.get_extra_info("socket")
        assert endpoint.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
