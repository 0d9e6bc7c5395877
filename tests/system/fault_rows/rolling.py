"""A relay that is replaced while agents call: R12, start the new one, then SIGTERM the old."""

import asyncio
import os
import signal
import socket
import time
from collections import Counter
from dataclasses import dataclass, field

import anyio

from tests.helpers.agent import Agent, Reply, call
from tests.helpers.recording_upstream import RecordingUpstream, Seen
from tests.helpers.tunnel import Lab
from tests.integration.scene import Scene, eventually, open_scene
from tests.system.fault_rows.table import Line, at_most, exactly, quantile, row, shown

ROLLS = 4
CALLS = 1000
CALL_SECONDS = 0.05
RATE = 100.0
"""Calls a second; one half on connections of their own, the other on those that are kept."""
KEPT = 10
PATIENCE = {"limits.drain_notice": "1s", "limits.drain_seconds": "30s"}
"""As a relay is installed; relays of other tests are in more of a hurry."""


class Slow(RecordingUpstream):
    """Takes 50 ms for each call and counts by its case how often it came."""

    def __init__(self) -> None:
        super().__init__()
        self.came: Counter[str] = Counter()

    async def serve(self, seen: Seen) -> None:
        """Answer one request."""
        self.seen.clear()
        if seen.case is not None:
            self.came[seen.case] += 1
        await asyncio.sleep(CALL_SECONDS)
        await super().serve(seen)


@dataclass
class Load:
    """Agents that call at their pace and repeat nothing: how long each call took, what failed."""

    agent: Agent
    taken: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    made: int = 0
    over: bool = False

    async def call(self, reply: Reply | None) -> Reply | None:
        """Make a call, on an open connection or a new one; returns one that stays open."""
        self.made += 1
        began, message = time.monotonic(), call("echo", case=f"call-{self.made}")
        way = "a new connection" if reply is None else "a kept connection"
        try:
            if reply is None:
                loop = asyncio.get_running_loop()
                _, reply = await loop.create_connection(Reply, "127.0.0.1", self.agent.port)
            else:
                reply.begin_again()
            reply.transport.write(self.agent.encode(message))
            await reply.end()
            if reply.status != 200 or b'"result"' not in reply.body:
                self.failed.append(f"{reply.status} {reply.body[:200]!r}")
        except (OSError, TimeoutError) as error:
            after = time.monotonic() - began
            self.failed.append(f"{way}, after {after:.3f} s: {type(error).__name__}: {error}")
        self.taken.append(time.monotonic() - began)
        if reply is not None and (reply.closed or reply.values("connection") == ["close"]):
            reply.close()
            return None
        return reply

    async def kept(self, pause: float, after: float) -> None:
        """Call on one connection for as long as the relay keeps it, then on the next."""
        reply = None
        await asyncio.sleep(after)
        while not self.over:
            began = time.monotonic()
            reply = await self.call(reply)
            await asyncio.sleep(max(0.0, pause - (time.monotonic() - began)))
        if reply is not None:
            reply.close()

    async def once(self) -> None:
        """Call on a connection of its own."""
        reply = await self.call(None)
        if reply is not None:
            reply.close()

    async def run(self) -> None:
        """Call until it is over; a call that takes long holds up no other but on its connection."""
        async with anyio.create_task_group() as tasks:
            pause = KEPT / (RATE / 2)
            for number in range(KEPT):
                tasks.start_soon(self.kept, pause, pause * number / KEPT)
            while not self.over:
                tasks.start_soon(self.once)
                await asyncio.sleep(2 / RATE)


def handed(lab: Lab) -> None:
    """Have the lab's relays serve at one socket, which outlives each of them."""
    lab.handed = socket.create_server(("127.0.0.1", lab.port), backlog=4096)


async def roll(scene: Scene) -> float:
    """Start a relay beside the one that runs, then end that; returns how long its end took."""
    lab = scene.lab
    waited, old = scene.log("relay.log").count("waiting_for_state"), lab.relay
    await lab.start_relay()
    await eventually(lambda: scene.log("relay.log").count("waiting_for_state") > waited)
    assert old is not None
    began = time.monotonic()
    os.kill(old.pid, signal.SIGTERM)
    with anyio.fail_after(60):
        assert await old.wait() == 0
    return time.monotonic() - began


@row("R12", f"rolling restart under one socket, {ROLLS} times, {RATE:.0f} calls/s of 50 ms")
async def rolls() -> list[Line]:
    """The new relay starts, waits for the old one's state, and takes over what queues."""
    upstream = Slow()
    async with open_scene(PATIENCE, upstream=upstream, prepare=handed) as scene:
        load = Load(scene.agent)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(load.run)
            await asyncio.sleep(2)
            usual = quantile(load.taken, 0.5)
            ends: list[float] = []
            while len(ends) < ROLLS or load.made < CALLS:
                ends.append(await roll(scene))
                await asyncio.sleep(1)
            load.over = True
        for failure in load.failed[:5]:
            print("R12 ", failure)
        added = [each - usual for each in load.taken]
        twice = sum(times > 1 for times in upstream.came.values())
        return [
            exactly("calls that failed", len(load.failed), 0, load.made),
            exactly("calls that ran twice", twice, 0, load.made),
            at_most("the longest that one took beyond the usual", max(added) * 1000, 500, "ms", 0),
            shown("the same, p99", f"{quantile(added, 0.99) * 1000:.0f} ms"),
            shown("the old relay's end, the longest", f"{max(ends):.2f} s"),
        ]
