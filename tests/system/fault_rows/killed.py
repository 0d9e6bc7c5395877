"""Programs that are killed: R1 the relay, R2 the relay over and over, R3 the client."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from pydantic import SecretStr

from tests.helpers.agent import Agent, Reply, call, initialize
from tests.helpers.tunnel import TUNNEL, Program, StdioUpstream, make_lab
from tests.helpers.upstream_peer import is_alive
from tests.integration.scene import OTHER, SERVER, Scene, eventually, open_scene
from tests.system.fault_rows.table import Line, at_most, exactly, not_run, quantile, row, shown

FLIGHT = 50
KILLS = 20
STDIO_SERVER = Path(__file__).parents[2] / "helpers" / "stdio_server.py"
PROMPT = 0.005
"""Seconds between two looks at what other processes did."""


@asynccontextmanager
async def in_flight(scene: Scene, count: int = FLIGHT) -> AsyncIterator[dict[str, Reply]]:
    """Have so many calls at the upstream, none of them answered; by case."""
    async with AsyncExitStack() as stack:
        replies = {
            f"flight-{number}": await stack.enter_async_context(
                scene.agent.open(call("driven", id=number, case=f"flight-{number}"))
            )
            for number in range(count)
        }
        for case in replies:
            await scene.upstream.arrived(case)
        yield replies


async def kill(process: Program | None) -> float:
    """End a program without a word; returns when."""
    assert process is not None
    os.killpg(process.pid, signal.SIGKILL)
    began = time.monotonic()
    await process.wait()
    return began


async def told(replies: dict[str, Reply], since: float) -> list[float]:
    """Return after how many seconds each agent knew how its call ended."""

    async def one(reply: Reply) -> float:
        await reply.broken_or_whole()
        return time.monotonic() - since

    return await asyncio.gather(*map(one, replies.values()))


def twice(scene: Scene, replies: dict[str, Reply]) -> int:
    """Count the calls that reached the upstream more than once."""
    return sum(len(scene.upstream.calls(case)) > 1 for case in replies)


@row("R1", "relay killed with 50 calls in flight, one relay")
async def relay_killed() -> list[Line]:
    """An agent's connection ends with its relay: that is all it can be told."""
    async with open_scene() as scene, in_flight(scene) as replies:
        upstream = [scene.upstream.calls(case)[0] for case in replies]
        since = await kill(scene.lab.relay)
        knew = max(await told(replies, since))
        await scene.lab.start_relay()
        listening = time.monotonic()
        await eventually(lambda: answers(scene.agent), PROMPT)
        again = time.monotonic() - listening
        await scene.upstream.until(lambda: all(seen.closed.is_set() for seen in upstream))
        running = sum(not seen.closed.is_set() for seen in upstream)
        return [
            at_most("the last agent in flight sees its call end", knew, 1, "s"),
            exactly("calls in flight that ran twice", twice(scene, replies), 0, FLIGHT),
            exactly("calls in flight that the upstream runs on", running, 0, FLIGHT),
            at_most("first call after the relay listens again", again, 5, "s"),
            not_run("the next call on another relay: one relay is one node so far"),
        ]


async def answers(agent: Agent) -> bool:
    """Make a call; tell whether it was answered."""
    try:
        return (await agent.ask(call("echo", case="again"))).status == 200
    except OSError:
        return False


@row("R2", "relay killed and started again, 20 times")
async def relay_restarted() -> list[Line]:
    """The client comes back by itself, and sessions live on."""
    back, lost = [], 0
    async with open_scene() as scene:
        grants = [await scene.grant() for _ in range(5)]
        for _ in range(KILLS):
            await kill(scene.lab.relay)
            await scene.lab.start_relay()
            listening = time.monotonic()
            await eventually(lambda: all_links(scene), PROMPT)
            back.append(time.monotonic() - listening)
            for each in grants:
                lost += (await each.agent.ask(call("echo"))).status != 200
    return [
        at_most("link back after the relay listens, p99", quantile(back, 0.99), 5, "s"),
        shown("the same, p50", f"{quantile(back, 0.5):.2f} s"),
        exactly("sessions lost", lost, 0, KILLS * len(grants)),
    ]


async def all_links(scene: Scene) -> bool:
    """Tell whether the relay has its client, with all its links."""
    try:
        return bool((await scene.ready())["links"] == scene.links)
    except OSError:
        return False


@row("R3", "client killed with 50 calls in flight, or with a stdio child")
async def client_killed() -> list[Line]:
    """Its agents are told by the relay, and what it started ends with it."""
    async with open_scene() as scene, in_flight(scene) as replies:
        since = await kill(scene.lab.client)
        knew = await told(replies, since)
        named = sum(
            reply.status == 502 and b'"delivery":"unknown"' in reply.body.replace(b" ", b"")
            for reply in replies.values()
        )
        await scene.lab.start_client([SERVER, OTHER])
        lines = [
            at_most("the last agent in flight is told", max(knew), 1, "s"),
            exactly("told that nobody knows how it ended", named, FLIGHT, FLIGHT),
            exactly("calls in flight that ran twice", twice(scene, replies), 0, FLIGHT),
        ]
    return [*lines, at_most("stdio child gone", await child_gone(), 1, "s")]


async def child_gone() -> float:
    """Kill a client that runs a stdio server; returns after how long no process is left."""
    python = shutil.which("python3") or "python3"
    command = (python, "-S", str(STDIO_SERVER))
    server = StdioUpstream(command, STDIO_SERVER.parent, sandboxed=False)
    async with make_lab({"child": server}) as lab:
        made = await lab.session("child")
        token = SecretStr(made["token"])
        agent = Agent(lab.port, f"/t/{TUNNEL}/child/mcp", token)
        assert (await agent.ask(initialize())).status == 200
        assert lab.client is not None
        family = descendants(lab.client.pid)
        assert family
        since = await kill(lab.client)
        await eventually(lambda: not any(map(is_alive, family)), PROMPT)
        return time.monotonic() - since


def descendants(pid: int) -> list[int]:
    """Return every process below one."""
    below: dict[int, list[int]] = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(place.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        below.setdefault(parent, []).append(int(place.parent.name))
    found, fresh = [], [pid]
    while fresh:
        fresh = [child for each in fresh for child in below.get(each, [])]
        found += fresh
    return found
