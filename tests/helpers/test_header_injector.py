"""The injector adds the token, leaves the rest, and lets bytes and disconnects through at once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from pydantic import SecretStr

from tests.helpers.header_injector import HostRule, Target, header_injector, rewrite

TOKEN = SecretStr("mts_secret")
OWN = frozenset({"127.0.0.1:9", "localhost:9"})
URL = "http://127.0.0.1:80/t/a/b/mcp"


def rewritten(*headers: str, rule: HostRule = "own") -> list[str]:
    head = "\r\n".join(("POST /t/a/b/mcp HTTP/1.1", *headers)).encode("ascii")
    return rewrite(head, Target(URL, TOKEN, rule), OWN).decode("ascii").split("\r\n")


def test_a_token_of_the_caller_is_replaced() -> None:
    lines = rewritten("authorization: Bearer other")
    assert [line for line in lines if line.lower().startswith("authorization")] == [
        "Authorization: Bearer mts_secret"
    ]


def test_other_headers_keep_their_case_order_and_white_space() -> None:
    sent = ("MCP-METHOD:  tools/list  ", "x-a: 1", "X-A: 2")
    assert rewritten(*sent)[1:4] == list(sent)


@pytest.mark.parametrize("own", ["127.0.0.1:9", "LOCALHOST:9"])
def test_the_injectors_own_names_become_the_targets(own: str) -> None:
    lines = rewritten(f"Host: {own}", f"Origin: http://{own}")
    assert lines[1:3] == ["Host: 127.0.0.1:80", "Origin: http://127.0.0.1:80"]


def test_a_foreign_name_reaches_the_target_that_has_to_refuse_it() -> None:
    foreign = ["Host: evil.example.com", "Origin: http://evil.example.com"]
    assert rewritten(*foreign)[1:3] == foreign


def test_the_host_can_always_be_the_targets_or_always_the_callers() -> None:
    assert rewritten("Host: evil.example.com", rule="always")[1] == "Host: 127.0.0.1:80"
    assert rewritten("Host: localhost:9", rule="never")[1] == "Host: localhost:9"


def test_the_token_is_not_in_the_repr() -> None:
    assert "mts_secret" not in repr(Target(URL, TOKEN))


@asynccontextmanager
async def call_through() -> AsyncIterator[tuple[SocketStream, SocketStream]]:
    """Yield both ends of one exchange: the caller's connection and the one at the target."""
    arrived, accept = anyio.create_memory_object_stream[SocketStream](1)
    done = anyio.Event()

    async def hold(stream: SocketStream) -> None:
        await arrived.send(stream)
        await done.wait()

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(SocketAttribute.local_port)  # noqa: S610  # anyio's, not Django's
        async with anyio.create_task_group() as tasks, arrived, accept:
            tasks.start_soon(listener.serve, hold)
            target = Target(f"http://127.0.0.1:{port}/mcp", TOKEN)
            async with header_injector(target) as url:
                caller = await anyio.connect_tcp("127.0.0.1", urlsplit(url).port or 0)
                await caller.send(b"POST /mcp HTTP/1.1\r\nHost: x\r\n\r\nfirst")
                async with caller, await accept.receive() as at_target:
                    yield caller, at_target
            done.set()
            tasks.cancel_scope.cancel()


async def read_until(stream: SocketStream, ending: bytes) -> bytes:
    data = b""
    while not data.endswith(ending):
        data += await stream.receive()
    return data


async def test_body_bytes_pass_both_ways_as_they_come() -> None:
    with anyio.fail_after(10):
        async with call_through() as (caller, target):
            head = await read_until(target, b"first")
            assert b"\r\nAuthorization: Bearer mts_secret\r\n\r\nfirst" in head
            # Neither side has ended: each piece has to arrive before the next is sent.
            for piece in (b"one", b"two"):
                await target.send(piece)
                assert await read_until(caller, piece) == piece
                await caller.send(piece)
                assert await read_until(target, piece) == piece


async def test_a_caller_that_leaves_ends_the_exchange_at_the_target() -> None:
    with anyio.fail_after(10):
        async with call_through() as (caller, target):
            await read_until(target, b"first")
            await caller.aclose()
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await target.receive()


async def test_a_target_that_leaves_ends_the_exchange_at_the_caller() -> None:
    with anyio.fail_after(10):
        async with call_through() as (caller, target):
            await read_until(target, b"first")
            await target.send(b"last")
            await target.aclose()
            assert await read_until(caller, b"last") == b"last"
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await caller.receive()


async def test_a_target_that_is_not_there_gives_502() -> None:
    with anyio.fail_after(10):
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            port = listener.extra(SocketAttribute.local_port)  # noqa: S610  # anyio's, not Django's
        target = Target(f"http://127.0.0.1:{port}/mcp", TOKEN)
        async with (
            header_injector(target) as url,
            await anyio.connect_tcp("127.0.0.1", urlsplit(url).port or 0) as caller,
        ):
            await caller.send(b"GET /mcp HTTP/1.1\r\n\r\n")
            assert (await caller.receive()).startswith(b"HTTP/1.1 502 ")
