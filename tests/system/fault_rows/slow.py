"""Who does not read: R8 an agent, R9 an upstream, beside agents who do."""

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

from tests.helpers.agent import Reply, call
from tests.helpers.recording_upstream import RecordingUpstream, Seen
from tests.integration.scene import Scene, eventually, open_scene
from tests.system.fault_rows.table import Line, at_most, quantile, row, shown
from tests.system.test_endurance import sizes
from tunnel_relay.gateway.patience import STALL_SECONDS

MIB = 1024 * 1024
STALLED = 8
SECONDS = 30.0
PAUSE = 0.01
BODY = 2 * MIB


class Deaf(RecordingUpstream):
    """Remembers nothing, and stops reading a connection that brings a large body."""

    def __init__(self) -> None:
        super().__init__()
        self.deaf: list[Seen] = []

    async def serve(self, seen: Seen) -> None:
        """Answer one request."""
        self.seen.clear()
        await super().serve(seen)


async def paced(scene: Scene, seconds: float) -> list[float]:
    """Make small calls one after another for so long; returns how long each took."""
    taken, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        reply = await scene.agent.ask(call("echo"))
        assert reply.status == 200, reply.body
        taken.append(time.monotonic() - began)
        await asyncio.sleep(PAUSE)
    return taken


def beside(alone: list[float], busy: list[float]) -> list[Line]:
    """Hold small calls beside the stalled ones to those alone."""
    bound = 2 * quantile(alone, 0.99) * 1000 + 5
    return [
        shown("small calls alone, p99", f"{quantile(alone, 0.99) * 1000:.1f} ms"),
        Line(
            f"small calls beside {STALLED} that stall, p99",
            f"<= 2x + 5 ms = {bound:.1f} ms",
            f"{quantile(busy, 0.99) * 1000:.1f} ms",
            quantile(busy, 0.99) * 1000 <= bound,
        ),
    ]


def grown(scene: Scene, before: dict[str, Any]) -> list[Line]:
    """Hold what each program grew by to the bound of a stalled stream."""
    now = sizes(scene)
    return [
        at_most(
            f"the {who} grew, a stalled stream",
            (now[who].memory - before[who].memory) / MIB / STALLED,
            8,
            "MiB",
        )
        for who in now
    ]


@row("R8", "8 agents that stop reading an answer of 32 MiB")
async def slow_agents() -> list[Line]:
    """They stop themselves and nobody else, and after a while they are cut."""
    async with open_scene(upstream=Deaf()) as scene, AsyncExitStack() as stack:
        await paced(scene, 3)
        before, alone = sizes(scene), await paced(scene, 10)
        replies: list[Reply] = []
        for number in range(STALLED):
            asked = call("big", id=number, bytes=32 * MIB, chunked=True)
            reply = await stack.enter_async_context(scene.agent.open(asked))
            await reply.head()
            reply.transport.pause_reading()
            replies.append(reply)
        stalled = time.monotonic()
        busy = await paced(scene, SECONDS)
        lines = [*beside(alone, busy), *grown(scene, before)]
        await eventually(lambda: no_streams(scene), 0.2, STALL_SECONDS + 60)
        cut = time.monotonic() - stalled
        assert not any(reply.whole for reply in replies)
        return [*lines, at_most("cut after", cut, STALL_SECONDS + 15, "s", 1)]


async def no_streams(scene: Scene) -> bool:
    """Tell whether the relay carries nothing."""
    return bool((await scene.ready())["streams"] == 0)


@row("R9", "8 requests of 2 MiB to an upstream that does not read, or says nothing")
async def slow_upstream() -> list[Line]:
    """It stops its own calls and nobody else's."""
    held: list[asyncio.StreamWriter] = []
    everything = asyncio.Event()

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)  # and never reads on: StreamReader stops after its own bound
        await everything.wait()
        writer.transport.abort()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0, limit=1024)
    async with server, open_scene(upstream=Deaf(), start=False) as scene:
        port = server.sockets[0].getsockname()[1]
        config = scene.lab.client_config
        text = config.read_text()
        url = f"http://127.0.0.1:{scene.upstream.port}/mcp"
        head, _, tail = text.rpartition(url)  # that of `other`, the last one
        config.write_text(f"{head}http://127.0.0.1:{port}/mcp{tail}")
        await scene.lab.start_client(["server", "other"])
        other = await scene.grant("other")
        await paced(scene, 3)
        before, alone = sizes(scene), await paced(scene, 10)
        async with AsyncExitStack() as stack:
            for number in range(STALLED):
                asked = call("echo", id=number, text="x" * BODY)
                await stack.enter_async_context(other.agent.open(asked))
            await eventually(lambda: len(held) == STALLED)
            busy = await paced(scene, SECONDS)
            lines = [*beside(alone, busy), *grown(scene, before)]
        everything.set()
        return lines
