"""Bytes two HTTP readers could read in two ways, too many of them, or too slow: H20, D01, D02."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
import pytest_asyncio

from tests.helpers.agent import DEADLINE, Reply, call, connected, raw
from tests.integration.scene import Scene
from tunnel_relay.gateway.patience import BODY_SECONDS

pytestmark = [
    pytest.mark.system,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.usefixtures("clean"),
]

MIB = 1024 * 1024
BODY = json.dumps(call("echo", case="attack")).encode()
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
LENGTH = str(len(BODY))


def head(scene: Scene, *fields: str, end: str = "\r\n", version: str = "1.1") -> bytes:
    """Write the head of a good call but for its framing fields."""
    good = [f"{name}: {value}" for name, value in scene.agent.head(call("echo"))]
    lines = [f"POST {scene.agent.path} HTTP/{version}", *good, *fields]
    return (end.join(lines) + end + end).encode("latin-1")


async def untouched(scene: Scene) -> None:
    """See that nothing reached the upstream and that the next good call works."""
    await scene.serves()
    assert [seen.case for seen in scene.upstream.seen] == ["still-serves"]


async def broken_off(scene: Scene, *attempts: bytes) -> None:
    """Send what is not HTTP: each gets one refusal at most, then its connection is closed."""
    answers = await asyncio.gather(*(raw(scene.lab.port, data) for data in attempts))
    for data, said in zip(attempts, answers, strict=True):
        assert said == b"" or said.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 404 ")), (
            data,
            said[:200],
        )
        assert said.count(b"HTTP/1.1 ") <= 1, data
    await untouched(scene)


async def test_h20_ambiguous_framing_is_refused_and_the_connection_closed(scene: Scene) -> None:
    framings = [
        [f"Content-Length: {LENGTH}", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", f"Content-Length: {LENGTH}"],
        ["Content-Length: 3", f"Content-Length: {LENGTH}"],
        [f"Content-Length: {LENGTH}", f"Content-Length: {LENGTH}"],
        [f"Content-Length: {LENGTH}, {LENGTH}"],
        [f"Content-Length: +{LENGTH}"],
        ["Content-Length: 0x10"],
        ["Content-Length: -1"],
        ["Content-Length: 99999999999999999999999999"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: xchunked"],
        [f"Content-Length : {LENGTH}"],
        ["Transfer-Encoding : chunked"],
        [" Transfer-Encoding: chunked"],
        ["X-Folded: a\r\n b", f"Content-Length: {LENGTH}"],
        ["X-Nul: a\0b", f"Content-Length: {LENGTH}"],
        ["X-Cr: a\rb", f"Content-Length: {LENGTH}"],
        ["X(Bad): a", f"Content-Length: {LENGTH}"],
        ["no colon here"],
    ]
    attempts = []
    for fields in framings:
        body = CHUNKED if any("chunked" in field.lower() for field in fields) else BODY
        attempts.append(head(scene, *fields) + body)
    await broken_off(scene, *attempts)


async def test_h20_malformed_and_smuggled_chunks_are_refused(scene: Scene) -> None:
    chunks = (b"zz\r\n", b"-1\r\n", b"f" * 18 + b"\r\n", b"5\nhello\n", b"1\r\nab\r\n0\r\n\r\n")
    start = head(scene, "Transfer-Encoding: chunked")
    inner = head(scene, f"Content-Length: {LENGTH}") + BODY
    fields = ["Transfer-Encoding: chunked", f"Content-Length: {len(inner) + 5}"]
    await broken_off(
        scene,
        *(start + chunk for chunk in chunks),
        head(scene, *fields) + b"0\r\n\r\n" + inner,
        head(scene, f"Content-Length: {LENGTH}", end="\n") + BODY,
    )


async def test_h20_chunk_extensions_without_end_are_refused(scene: Scene) -> None:
    async with connected(scene.lab.port) as reply:
        reply.transport.write(head(scene, "Transfer-Encoding: chunked") + b"1;")
        for _ in range(200):
            reply.transport.write(b"x" * 65_536)
            await asyncio.sleep(0)
        # For what it sent: a body that is only slow has longer than we wait.
        assert BODY_SECONDS > DEADLINE
        await reply.broken()
    assert reply.status in (0, 400, 413, 431)
    await untouched(scene)


async def test_a_whole_request_in_one_segment_is_served_whatever_its_body_weighs(
    scene: Scene,
) -> None:
    for size in (20_000, 40_000, 100_000, 250_000):
        reply = await scene.agent.ask(call("status", status=200, body="ok", pad="x" * size))
        assert (reply.status, reply.body) == (200, b"ok")


async def test_requests_follow_each_other_on_one_connection(scene: Scene) -> None:
    one = head(scene, f"Content-Length: {LENGTH}") + BODY
    reader, writer = await asyncio.open_connection("127.0.0.1", scene.lab.port)
    try:
        with anyio.fail_after(20):
            for _ in range(5):
                writer.write(one)
                said = await reader.readuntil(b"\r\n\r\n")
                assert said.startswith(b"HTTP/1.1 200 ")
                length = int(said.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                assert b"attack" in await reader.readexactly(length)
    finally:
        writer.transport.abort()
    assert len(scene.upstream.calls("attack")) == 5


async def test_a_pipelined_second_request_never_mixes_with_the_first(scene: Scene) -> None:
    first = json.dumps(call("driven", case="first")).encode()
    path = scene.agent.head(call("driven"))
    lines = [f"POST {scene.agent.path} HTTP/1.1", *(f"{name}: {value}" for name, value in path)]
    start = "\r\n".join([*lines, f"Content-Length: {len(first)}", "", ""]).encode() + first
    async with connected(scene.lab.port) as reply:
        reply.transport.write(start + head(scene, f"Content-Length: {LENGTH}") + BODY)
        await (await scene.upstream.arrived("first")).result({"only": "first"})
        await reply.end()
        assert reply.document["result"] == {"only": "first"}
        await reply.broken()
    assert reply.document["result"] == {"only": "first"}
    await untouched_but(scene, "first")


async def untouched_but(scene: Scene, case: str) -> None:
    """See that only this call and the next good one reached the upstream."""
    await scene.serves()
    assert [seen.case for seen in scene.upstream.seen] == [case, "still-serves"]


async def test_the_relay_says_continue_only_to_what_it_will_read(scene: Scene) -> None:
    good = head(scene, f"Content-Length: {LENGTH}", "Expect: 100-continue")
    async with connected(scene.lab.port) as reply:
        reply.transport.write(good)
        reply.transport.write(BODY)
        assert (await reply.end()).status == 200
    scene.upstream.seen.clear()
    nobody = good.replace(b"Authorization: Bearer mts_", b"Authorization: Bearer xxx_")
    said = await raw(scene.lab.port, nobody + BODY)
    assert said.startswith(b"HTTP/1.1 401 ")
    await untouched(scene)


async def test_an_upgrade_to_something_else_opens_nothing(scene: Scene) -> None:
    framed = f"Content-Length: {LENGTH}", "Connection: Upgrade"
    wanted = ("h2c", "websocket", "websocket, h2c")
    attempts = (head(scene, *framed, f"Upgrade: {name}") + BODY for name in wanted)
    await broken_off(scene, *attempts)


@pytest.mark.parametrize("length", [4 * MIB + 1, 10**9, 10**11])
async def test_d02_a_body_said_to_be_too_large_is_refused_before_it_comes(
    scene: Scene, length: int
) -> None:
    async with connected(scene.lab.port) as reply:
        reply.transport.write(head(scene, f"Content-Length: {length}"))
        await reply.head()
        assert reply.status == 413
        await reply.end()
    assert reply.error["data"]["origin"] == "relay"
    await untouched(scene)


async def test_d02_a_body_without_a_length_is_cut_at_the_limit(scene: Scene) -> None:
    before = resident(scene)
    chunk = b"%x\r\n%b\r\n" % (MIB, b" " * MIB)
    replies: list[Reply] = []
    for _ in range(8):
        async with connected(scene.lab.port) as reply:
            reply.transport.write(head(scene, "Transfer-Encoding: chunked"))
            for _ in range(64):
                if reply.status or reply.closed:
                    break
                reply.transport.write(chunk)
                await asyncio.sleep(0)
            await reply.head()
            replies.append(reply)
    assert [reply.status for reply in replies] == [413] * 8
    assert resident(scene) - before < 2 * 4 * MIB * 2
    await untouched(scene)


async def test_a_body_at_the_limit_passes(scene: Scene) -> None:
    empty = call("status", status=200, body="all there", pad="")
    message = call("status", status=200, body="all there", pad="x" * (4 * MIB - size_of(empty)))
    assert size_of(message) == 4 * MIB
    reply = await scene.agent.ask(message)
    assert (reply.status, reply.body) == (200, b"all there")
    assert len(scene.upstream.seen[-1].body) == 4 * MIB


async def test_d01_a_head_that_never_ends_is_cut(
    scene: Scene, slow_heads: tuple[Reply, Reply]
) -> None:
    idle, slow = slow_heads
    await slow.broken()
    await idle.broken()
    assert (slow.status, idle.status) in ((0, 0), (408, 0))
    await untouched(scene)


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def slow_heads(scene: Scene) -> AsyncIterator[tuple[Reply, Reply]]:
    """Begin before the other tests, so that the deadline passes beside them."""
    async with connected(scene.lab.port) as idle, connected(scene.lab.port) as slow:
        slow.transport.write(head(scene)[:-4])
        dripping = asyncio.create_task(drip(slow))
        yield idle, slow
        dripping.cancel()


async def drip(reply: Reply) -> None:
    """Send a byte of a header now and then until the relay has had enough."""
    while not reply.closed:
        reply.transport.write(b"x")
        await asyncio.sleep(0.25)


def size_of(message: dict[str, object]) -> int:
    return len(json.dumps(message).encode())


def resident(scene: Scene) -> int:
    """Return the bytes of memory the relay holds now."""
    assert scene.lab.relay is not None
    status = Path(f"/proc/{scene.lab.relay.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024
