"""Networks that fail: R4 silence, R5 silence one way, R6 a cut that heals, R7 loss and delay."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from tests.helpers.agent import call
from tests.helpers.packets import losing
from tests.helpers.tcp_proxy import TcpProxy
from tests.helpers.tunnel import Program
from tests.integration.scene import Scene, eventually, open_scene
from tests.system.fault_rows.killed import all_links, in_flight, twice
from tests.system.fault_rows.table import Line, at_most, exactly, quantile, row, shown

SWIFT = {"limits.ping_interval": "5s", "limits.ping_deadline": "5s"}
SWIFT_SECONDS, DEFAULT_SECONDS = 11.0, 26.0
"""Ping, deadline and a second: with pings every 5 s and a deadline of 5 s, and as installed."""
CUT_SECONDS = 10.0
GIVEN_UP = ("link cut", "link lost")


@asynccontextmanager
async def over_wire(limits: Mapping[str, object]) -> AsyncIterator[tuple[Scene, TcpProxy]]:
    """Start everything, the client's one link through a proxy."""
    async with TcpProxy() as proxy, open_scene(limits, via=proxy, links=1) as scene:
        yield scene, proxy


def given_up(scene: Scene, program: str) -> int:
    """Count how often a program has said that its connection is gone."""
    said = scene.log(f"{program}.log")
    return sum(said.count(words) for words in GIVEN_UP)


async def noticed(scene: Scene, program: str, since: float) -> float:
    """Return after how many seconds a program gave its connection up."""
    before = given_up(scene, program)
    await eventually(lambda: given_up(scene, program) > before, 0.02, DEFAULT_SECONDS + 20)
    return time.monotonic() - since


async def silent(
    limits: Mapping[str, object], fault: Callable[[Scene, TcpProxy], AbstractContextManager[None]]
) -> dict[str, float]:
    """Break the link without a word; returns after how long each end gave it up."""
    async with over_wire(limits) as (scene, proxy):
        with fault(scene, proxy):
            since = time.monotonic()
            relay, client = await asyncio.gather(
                *(noticed(scene, program, since) for program in ("relay", "client"))
            )
        await eventually(lambda: all_links(scene))
        await scene.serves()
    return {"relay": relay, "client": client}


@contextmanager
def still(process: Program | None) -> Iterator[None]:
    """Let a program stand still."""
    assert process is not None
    os.killpg(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGCONT)


async def frozen(program: str, watcher: str) -> float:
    """Stop a program; returns after how long the other end gave the link up."""
    async with over_wire(SWIFT) as (scene, _):
        process = scene.lab.client if program == "client" else scene.lab.relay
        with still(process):
            gone = await noticed(scene, watcher, time.monotonic())
        await eventually(lambda: all_links(scene))
        await scene.serves()
    return gone


def lines_of(what: str, gone: Mapping[str, float], bound: float) -> list[Line]:
    """Hold how long both ends took to their bound."""
    return [at_most(f"{what}: the {end} gives up", gone[end], bound, "s") for end in gone]


@row("R4", "a link that carries nothing, and nobody says so")
async def half_open() -> list[Line]:
    """Packets dropped both ways, or a program that stands still."""
    swift = await silent(SWIFT, lambda _, proxy: losing(proxy.port))
    usual = await silent({}, lambda _, proxy: losing(proxy.port))
    return [
        *lines_of("packets dropped, pings 5/5 s", swift, SWIFT_SECONDS),
        *lines_of("packets dropped, pings 15/10 s as installed", usual, DEFAULT_SECONDS),
        *lines_of("SIGSTOP, pings 5/5 s", {"relay": await frozen("client", "relay")}, 11),
        *lines_of("SIGSTOP, pings 5/5 s", {"client": await frozen("relay", "client")}, 11),
    ]


@row("R5", "a link that carries one way only")
async def one_way() -> list[Line]:
    """Packets dropped in one direction."""
    up = await silent(SWIFT, lambda _, proxy: losing(proxy.port, "up"))
    down = await silent(SWIFT, lambda _, proxy: losing(proxy.port, "down"))
    return [
        *lines_of("nothing reaches the relay, pings 5/5 s", up, SWIFT_SECONDS),
        *lines_of("nothing reaches the client, pings 5/5 s", down, SWIFT_SECONDS),
    ]


@dataclass
class Calling:
    """Agents that call without a pause, and how long each call took."""

    scene: Scene
    failed: int = 0
    made: int = 0
    seconds: list[float] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def work(self) -> None:
        """Call until it is over."""
        while not self.over.is_set():
            self.made += 1
            began = time.monotonic()
            try:
                asked = call("echo", id=self.made, case=f"load-{self.made}")
                self.failed += (await self.scene.agent.ask(asked)).status != 200
            except (OSError, TimeoutError):
                self.failed += 1
            self.seconds.append(time.monotonic() - began)

    def twice(self) -> int:
        """Count the calls that reached the upstream more than once."""
        ran = Counter(seen.case for seen in self.scene.upstream.seen)
        return sum(count > 1 for case, count in ran.items() if case and case.startswith("load-"))


@asynccontextmanager
async def calling(scene: Scene, workers: int) -> AsyncIterator[Calling]:
    """Have agents call while the block runs; waits for their last answers."""
    load = Calling(scene)
    tasks = [asyncio.create_task(load.work()) for _ in range(workers)]
    try:
        yield load
    finally:
        load.over.set()
        await asyncio.gather(*tasks)


async def cut_and_healed(limits: Mapping[str, object], what: str) -> list[Line]:
    """Drop everything for a while under load, with calls in flight."""
    async with over_wire(limits) as (scene, proxy), in_flight(scene) as replies:
        async with calling(scene, 4) as load:
            await eventually(lambda: load.made > 100)
            before = quantile(load.seconds, 0.5)
            with losing(proxy.port):
                await asyncio.sleep(CUT_SECONDS)
            made = load.made
            await eventually(lambda: load.made > made + 100, within=40)
        for case in replies:
            await scene.upstream.calls(case)[0].result({"late": case})
        whole = [await reply.end() for reply in replies.values()]
        lost = sum(reply.status != 200 for reply in whole)
        added = max(load.seconds) - before
        doubled = twice(scene, replies) + load.twice()
        return [
            exactly(f"{what}: calls in flight that were lost", lost, 0, len(replies)),
            exactly(f"{what}: calls made meanwhile that failed", load.failed, 0, load.made),
            exactly(f"{what}: calls that ran twice", doubled, 0, load.made + len(replies)),
            at_most(f"{what}: the longest wait", added, CUT_SECONDS + 2, "s"),
        ]


@row("R6", "10 s without a network, then healed, 50 calls in flight")
async def cut_10_s() -> list[Line]:
    """Agents notice a pause."""
    return [
        *await cut_and_healed({}, "pings 15/10 s as installed"),
        *await cut_and_healed(SWIFT, "pings 5/5 s"),
    ]


@row("R7", "10 % of packets lost, round trips of 200 +- 100 ms")
async def lossy() -> list[Line]:
    """A bad mobile network, for a thousand calls."""
    async with over_wire({}) as (scene, proxy):
        gone = given_up(scene, "client") + given_up(scene, "relay")
        proxy.delay, proxy.jitter = 0.1, 0.05
        with losing(proxy.port, percent=10):
            async with calling(scene, 16) as load:
                await eventually(lambda: load.made >= 1000, within=400)
        proxy.delay = proxy.jitter = 0.0
        flaps = given_up(scene, "client") + given_up(scene, "relay") - gone
        return [
            exactly("calls that failed", load.failed, 0, load.made),
            exactly("calls that ran twice", load.twice(), 0, load.made),
            exactly("times the link was given up", flaps, 0),
            shown("a call, p50 and p99", _halves(load.seconds)),
        ]


def _halves(seconds: list[float]) -> str:
    return f"{quantile(seconds, 0.5):.2f} s and {quantile(seconds, 0.99):.2f} s"
