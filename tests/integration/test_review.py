"""What a connection let through until it was attacked: one test a finding."""

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path

import anyio
import pytest

from shared.wire.codec import encode_head
from shared.wire.frames import FLAG_END, FrameType
from tests.helpers.agent import Agent, call, connected, raw
from tests.helpers.raw_link import joined
from tests.helpers.tunnel import Program
from tests.integration.hostile import Stage
from tests.integration.scene import SERVER, Scene
from tests.integration.test_agent_keepalive import Kept
from tunnel_relay.gateway.running import MAX_RUNNING_ON

pytestmark = [
    pytest.mark.system,
    pytest.mark.asyncio(loop_scope="session"),
]

MIB = 1024 * 1024
BODY = json.dumps(call("headers", case="review")).encode()


def chunked(agent: Agent, trailers: Iterable[str] = (), body: bytes = BODY) -> bytes:
    """Write a good call whose body comes in chunks, with these lines behind the last."""
    fields = [("Transfer-Encoding", "chunked")]
    head = agent.encode(call("headers"), headers=fields).partition(b"\r\n\r\n")[0]
    end = "".join(f"{line}\r\n" for line in trailers).encode()
    return head + b"\r\n\r\n%x\r\n%b\r\n0\r\n%b\r\n" % (len(body), body, end)


def memory_of(program: Program | None) -> int:
    """Return the bytes of memory a program holds now."""
    assert program is not None
    status = Path(f"/proc/{program.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


async def test_trailers_are_not_header_fields(scene: Scene) -> None:
    trailers = ["X-Late: 1", "Content-Type: text/plain", "Last-Event-ID: 7", "Mcp-Name: other"]
    async with connected(scene.lab.port) as reply:
        reply.transport.write(chunked(scene.agent, trailers))
        await reply.end()
    assert reply.status == 200, reply.body
    told = [name for name, _ in reply.document["result"]["headers"]]
    assert "x-late" not in told
    assert "last-event-id" not in told
    assert told.count("content-type") == 1


async def test_trailers_teach_a_connection_no_head(scene: Scene) -> None:
    assert scene.agent.token is not None
    second = f"Authorization: Bearer {scene.agent.token.get_secret_value()}"
    async with connected(scene.lab.port) as reply:
        kept = Kept(reply)
        await kept.ask(chunked(scene.agent, [second]))
        taught = chunked(scene.agent).replace(b"\r\n\r\n", f"\r\n{second}\r\n\r\n".encode(), 1)
        assert (await kept.ask(taught)).status == 400


async def test_a_body_on_get_is_refused_on_a_connection_that_knows_the_head(scene: Scene) -> None:
    agent = scene.agent
    async with connected(scene.lab.port) as reply:
        kept = Kept(reply)
        assert (await kept.ask(agent.encode(method="GET"))).status == 405
        with_body = agent.encode(method="GET", headers=[("Content-Length", "5")]) + b"hello"
        assert (await kept.ask(with_body)).status == 400


async def test_trailers_without_end_are_cut_whoever_sends_them(scene: Scene) -> None:
    nobody = scene.agent.with_token(None)
    before = memory_of(scene.lab.relay)
    for agent in (nobody, scene.agent):
        start = chunked(agent)[:-2] + b"X-Endless: "
        async with connected(scene.lab.port) as reply:
            reply.transport.write(start)
            with anyio.move_on_after(20):
                for _ in range(2000):
                    if reply.closed:
                        break
                    reply.transport.write(b"x" * 32_768)
                    await asyncio.sleep(0)
                await reply.broken()
            assert reply.closed
    assert memory_of(scene.lab.relay) - before < 16 * MIB


async def test_refusals_nobody_reads_do_not_pile_up(scene: Scene) -> None:
    before = memory_of(scene.lab.relay)
    some = b"GET /t/ HTTP/1.1\r\n\r\n" * 3000
    async with connected(scene.lab.port) as reply:
        reply.transport.pause_reading()
        with anyio.move_on_after(10):
            for _ in range(200):
                reply.transport.write(some)
                while reply.transport.get_write_buffer_size() and not reply.closed:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
        assert memory_of(scene.lab.relay) - before < 16 * MIB


async def test_an_upgrade_behind_a_call_waits_for_nothing_and_opens_nothing(scene: Scene) -> None:
    scene.upstream.seen.clear()
    first = scene.agent.encode(call("driven", case="behind"))
    upgrade = (
        f"GET /tunnel HTTP/1.1\r\nHost: {scene.agent.host}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ).encode()
    for more in (upgrade, b"\x01 garbage\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"):
        async with connected(scene.lab.port) as reply:
            reply.transport.write(first + more)
            await (await scene.upstream.arrived("behind")).result({"only": "first"})
            await reply.end()
            assert reply.status == 200
            assert reply.document["result"] == {"only": "first"}
            await reply.broken()
        scene.upstream.seen.clear()


async def test_a_call_behind_a_page_is_not_served(scene: Scene) -> None:
    scene.upstream.seen.clear()
    page = f"GET /healthz HTTP/1.1\r\nHost: {scene.agent.host}\r\n\r\n".encode()
    said = await raw(scene.lab.port, page + scene.agent.encode(call("echo", case="behind")))
    assert said.count(b"HTTP/1.1 ") == 1
    assert said.endswith(b'{"alive":true}')
    await scene.serves()
    assert scene.upstream.calls("behind") == []


async def test_a_call_that_is_over_leaves_nothing_at_the_client(scene: Scene) -> None:
    large = call("status", status=200, body="ok", pad="x" * (4 * MIB - 4096))
    assert (await scene.agent.ask(large)).status == 200
    before = memory_of(scene.lab.client)
    for _ in range(30):
        assert (await scene.agent.ask(large)).status == 200
        scene.upstream.seen.clear()
    driven = call("driven", case="left", pad="x" * (4 * MIB - 4096))
    for _ in range(10):
        async with scene.agent.open(driven):
            seen = await scene.upstream.arrived("left")
        with anyio.fail_after(20):
            await seen.closed.wait()
        scene.upstream.seen.clear()
    # Each held 8 MiB, its bytes and what was parsed of them, until a rare garbage collection.
    assert memory_of(scene.lab.client) - before < 40 * MIB


async def test_calls_that_their_agent_left_do_not_fill_the_upstream(scene: Scene) -> None:
    scene.upstream.seen.clear()
    before = (await scene.ready())["streams"]
    for number in range(1, MAX_RUNNING_ON + 21):
        async with scene.agent.open(call("driven", case="left", modern=False)):
            await scene.upstream.arrived("left", number)
    seen = scene.upstream.calls("left")
    await scene.upstream.until(lambda: sum(one.closed.is_set() for one in seen) == 20)
    assert (await scene.ready())["streams"] == before + MAX_RUNNING_ON
    for one in seen:
        await one.result({})
    await scene.serves()


async def test_bytes_behind_an_answer_without_a_body_reach_nobody(stage: Stage) -> None:
    async with joined(stage.port, stage.honest) as link:
        link.catalog(SERVER)
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        with anyio.fail_after(20):
            # Chunks first: the connection must not remember how it framed that answer.
            writer.write(stage.agent.encode(call("echo")))
            stream = await link.opened()
            link.frame(FrameType.HEAD, stream, encode_head(200, []))
            await reader.readuntil(b"\r\n\r\n")
            link.frame(FrameType.DATA, stream, b"first", FLAG_END)
            assert await reader.readuntil(b"0\r\n\r\n") == b"5\r\nfirst\r\n0\r\n\r\n"
            writer.write(stage.agent.encode(call("echo")))
            stream = await link.opened()
            link.frame(FrameType.HEAD, stream, encode_head(204, []))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")
            forged = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
            link.frame(FrameType.DATA, stream, forged, FLAG_END)
            assert await reader.read() == b""
        writer.transport.abort()


async def test_a_length_no_number_can_hold_costs_one_call(stage: Stage) -> None:
    async with joined(stage.port, stage.honest) as link:
        link.catalog(SERVER)
        async with stage.agent.open(call("echo")) as reply:
            stream = await link.opened()
            lying = encode_head(200, [(b"content-length", b"9" * 5000)])
            link.frame(FrameType.HEAD, stream, lying)
            await reply.head()
            link.frame(FrameType.DATA, stream, b"x", FLAG_END)
            assert (await reply.end()).body == b"x"
        async with stage.agent.open(call("echo")) as reply:
            link.answer(await link.opened(), b"{}")
            assert (await reply.end()).body == b"{}"
