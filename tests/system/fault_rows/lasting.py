"""What takes long, or comes first: R18 memory, R19 hostile frames, R20 the start."""

import asyncio
import os
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.fuzz.targets import SEEDS, TARGETS
from tests.helpers.agent import Agent, call
from tests.helpers.tcp_proxy import TcpProxy
from tests.helpers.tunnel import BIN, end
from tests.integration.scene import SERVER, Scene, open_scene
from tests.system.fault_rows.slow import MIB, Deaf
from tests.system.fault_rows.table import Line, at_most, exactly, quantile, row, shown
from tests.system.test_endurance import DESCRIPTORS, Size, sizes

SOAK = float(os.environ.get("SOAK", "180"))
"""Seconds of load; the promise is about hours: SOAK=7200."""
PER_SECOND = 50
FLAP_SECONDS = 5.0
SETTLED = 1800.0
"""What memory does before is warming up."""
FUZZ = float(os.environ.get("FUZZ", "4"))
"""Seconds for each decoder."""
STARTS = 10


@dataclass
class Soak:
    """How large both programs were, and what became of the calls."""

    agent: Agent
    began: float = field(default_factory=time.monotonic)
    samples: list[tuple[float, dict[str, Size]]] = field(default_factory=list)
    made: int = 0
    failed: list[str] = field(default_factory=list)

    async def one(self) -> None:
        """Make one call."""
        self.made += 1
        at = time.monotonic()
        try:
            reply = await self.agent.ask(call("echo", id=self.made))
            why = "" if reply.status == 200 else f"{reply.status} {reply.body[:200]!r}"
        except (OSError, TimeoutError) as error:
            why = f"{type(error).__name__}: {error}"
        if why:
            took = time.monotonic() - at
            self.failed.append(f"{at - self.began:.1f} s on, after {took:.2f} s: {why}")

    def slope(self, who: str) -> float:
        """Return by how much a program grew, least squares over the later half; MiB an hour."""
        late = [(at, found[who].memory / MIB) for at, found in self.samples]
        late = late[len(late) // 2 :]
        mean = sum(at for at, _ in late) / len(late)
        spread = sum((at - mean) ** 2 for at, _ in late)
        return sum((at - mean) * size for at, size in late) / spread * 3600

    def more_files(self, who: str, of: Callable[[Iterable[int]], int]) -> int:
        """Return by how much more files a program had open in the later half, by most or fewest.

        Calls pile up while a machine is busy, which shows in the most; what is never closed shows
        in the fewest.
        """
        found = [sample[who].descriptors for _, sample in self.samples]
        middle = len(found) // 2
        return of(found[middle:]) - of(found[:middle])

    def lines(self) -> list[Line]:
        """Hold them to the bounds; memory only when it had time to settle."""
        first, last = self.samples[len(self.samples) // 2][1], self.samples[-1][1]
        lines = [exactly(f"calls that failed in {SOAK:,.0f} s", len(self.failed), 0, self.made)]
        for who in last:
            if SOAK > 2 * SETTLED:
                lines.append(at_most(f"the {who} grows", self.slope(who), 1, "MiB/h"))
            else:
                was, now = first[who].memory / MIB, last[who].memory / MIB
                said = f"{was:.1f} to {now:.1f} MiB (too short for a slope: SOAK=7200)"
                lines.append(shown(f"the {who} in the later half", said))
            for word, of in (("most", max), ("fewest", min)):
                what = f"{word} open files of the {who}, later half beyond the earlier"
                lines.append(at_most(what, self.more_files(who, of), DESCRIPTORS, "files", 0))
        return lines


@row("R18", "50 calls/s while the link is cut every 5 s")
async def soak() -> list[Line]:
    """Neither program grows."""
    async with TcpProxy() as proxy, open_scene(via=proxy, upstream=Deaf()) as scene:
        load = Soak((await scene.grant(ttl="12h")).agent)  # longer than the load
        async with asyncio.TaskGroup() as calls:
            due, flap = load.began, load.began + FLAP_SECONDS
            while (now := time.monotonic()) < load.began + SOAK:
                calls.create_task(load.one())
                if now > flap:
                    proxy.cut()
                    load.samples.append((now, sizes(scene)))
                    flap += FLAP_SECONDS
                due += 1 / PER_SECOND
                await asyncio.sleep(due - time.monotonic())
        for failure in load.failed[:5]:
            print("R18 ", failure)
        return load.lines()


def mangled(seed: bytes, dice: random.Random) -> bytes:
    """Return what a hostile peer could send instead: bits, bytes, lengths and ends changed."""
    made = bytearray(seed)
    for _ in range(dice.randint(1, 8)):
        at = dice.randrange(len(made) + 1)
        match dice.randrange(5):
            case 0 if made:
                made[at % len(made)] ^= 1 << dice.randrange(8)
            case 1:
                made[at:at] = dice.randbytes(dice.randint(1, 16))
            case 2:
                del made[at : at + dice.randint(1, 16)]
            case 3:
                made[at : at + 4] = dice.choice((b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"))
            case _:
                made[at:at] = made[: dice.randint(0, 64)]
    return bytes(made)


def attacked(name: str, seconds: float) -> tuple[int, str]:
    """Give one decoder changed frames for so long; returns how many, and what went wrong."""
    dice, seeds, given = random.Random(name), list(SEEDS[name]) or [b""], 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        data = mangled(dice.choice(seeds), dice)
        given += 1
        try:
            TARGETS[name](data)
        except Exception as error:  # noqa: BLE001 - each of them is a finding
            return given, f"{name}: {type(error).__name__} of {data.hex()[:120]}"
    return given, ""


@row("R19", "hostile frames for every decoder, seeded")
async def hostile_frames() -> list[Line]:
    """Each is a value or the one documented error; `python -m tests.fuzz` searches further."""
    given, found = 0, []
    for name in TARGETS:
        tried, wrong = attacked(name, FUZZ)
        given += tried
        found += [wrong] if wrong else []
    return [
        Line(
            f"other errors than the documented one, of {len(TARGETS)} decoders",
            "0",
            "; ".join(found) or f"0 of {given:,} frames",
            not found,
        )
    ]


async def took(*argv: str) -> float:
    """Return how long a command runs; seconds."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0
    return time.monotonic() - began


def links_made(scene: Scene) -> int:
    """Count the links that the client has made so far."""
    return scene.log("client.log").count("link up")


@row("R20", "the start of both programs")
async def start() -> list[Line]:
    """From the command to the first page of help, and to a daemon that serves."""
    lines = []
    for program in ("tunnel-relay", "tunnel-client"):
        helped = [await took(str(BIN / program), "--help") for _ in range(STARTS)]
        lines.append(at_most(f"{program} --help, median", quantile(helped, 0.5), 0.15, "s", 3))
        lines.append(shown(f"{program} --help, fastest", f"{min(helped):.3f} s"))
    relay, client = [], []
    async with open_scene() as scene:
        for _ in range(STARTS):
            await end(scene.lab.client)
            await end(scene.lab.relay)
            began = time.monotonic()
            await scene.lab.start_relay()
            relay.append(time.monotonic() - began)
            before, began = links_made(scene), time.monotonic()
            starting = asyncio.create_task(scene.lab.start_client([SERVER]))
            while links_made(scene) == before:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.005)
            client.append(time.monotonic() - began)
            await starting
    return [
        *lines,
        at_most("the relay listens, median", quantile(relay, 0.5), 2, "s"),
        at_most("the client has its link, median", quantile(client, 0.5), 2, "s"),
        shown("the slowest of both, of 10", f"{max(relay):.2f} s and {max(client):.2f} s"),
    ]
