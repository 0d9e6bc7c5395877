"""Relay and client killed under load, over and over; then both logs have to account for each call.

    python -m tests.system.kills [--times 100] [--seed 1] [--json]

A real upstream counts what reaches it, by the digest of each request's body: no two are alike.
Exit code 0 when every call is accounted for, 1 when one is not.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import anyio

from tests.helpers.agent import call
from tests.helpers.recording_upstream import RecordingUpstream, Seen
from tests.helpers.tunnel import Lab, end
from tests.integration.policies import desk_upstream, tool
from tests.integration.scene import DEADLINE, OTHER, SERVER, Scene, open_scene
from tests.system.kills_account import Account, Answers, account

WORKERS = 12
TOOLS = ("get_ticket", "open_ticket", "follow")
CLASSES = {"get_ticket": "read", "open_ticket": "write", "follow": "read"}
EVENTS = 4
PACE = 0.01
"""Seconds between the events of a stream: long enough to be killed in the middle of one."""
MOST_CALLS = 400
"""Calls that reach the upstream between two kills, at most; how many is drawn."""
MOST_SECONDS = 0.02
"""And how long after the last of them the kill comes, at most."""


class Counting(RecordingUpstream):
    """Counts calls by the digest of their bodies; `follow` is answered bit by bit."""

    def __init__(self) -> None:
        super().__init__()
        self.results = desk_upstream(tool("follow")).results
        self.driven = {"follow"}
        self.counted: Counter[str] = Counter()

    async def serve(self, seen: Seen) -> None:
        """Answer one request."""
        self.seen.clear()
        if seen.document.get("method") == "tools/call":
            self.counted[sha256(seen.body).hexdigest()] += 1
        await super().serve(seen)
        if seen.document.get("params", {}).get("name") == "follow":
            await seen.event_stream()
            for number in range(EVENTS):
                await seen.event({"jsonrpc": "2.0", "method": "notifications/n", "params": number})
                await asyncio.sleep(PACE)
            result = {"jsonrpc": "2.0", "id": seen.document["id"], "result": {"content": []}}
            await seen.event(result)
            await seen.end()

    @property
    def reached(self) -> int:
        """How many calls reached it."""
        return self.counted.total()


@dataclass
class Load:
    """Agents that call without a pause, and what became of each call."""

    scene: Scene
    upstream: Counting
    made: int = 0
    answers: Answers = field(default_factory=dict)
    over: bool = False
    serves: asyncio.Event = field(default_factory=asyncio.Event)
    """Is there a relay to call?"""

    async def work(self) -> None:
        """Call until it is over, while there is a relay."""
        while not self.over:
            await self.serves.wait()
            self.made += 1
            message = call(TOOLS[self.made % 3], id=self.made, case=f"call-{self.made}")
            digest = sha256(json.dumps(message).encode()).hexdigest()
            try:
                async with self.scene.agent.open(message) as reply:
                    await reply.broken_or_whole()
            except OSError:
                self.answers[digest] = "refused"  # killed before it took the connection
                continue
            self.answers[digest] = _said(reply.status, reply.whole, reply.body)

    async def reach(self, more: int) -> None:
        """Wait until so many more calls have reached the upstream."""
        wanted = self.upstream.reached + more
        with anyio.fail_after(DEADLINE):
            while self.upstream.reached < wanted:  # noqa: ASYNC110 - other processes have no event
                await asyncio.sleep(0.001)


def _said(status: int, whole: bool, body: bytes) -> str:
    """Tell what an agent knows of its call."""
    if not whole:
        return "cut"
    if status == 200 and b'"result"' in body:
        return "answered"
    return "never_sent" if b'"never_sent"' in body else "unknown"


@dataclass
class Run:
    """What was done, and what came of it."""

    killed: Counter[str]
    seconds: float
    account: Account

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "kills": dict(self.killed),
            "seconds": round(self.seconds, 1),
            **self.account.as_dict(),
        }


def _prepare(lab: Lab) -> None:
    lab.pinned = True
    for program in ("CLIENT", "RELAY"):
        # Small files: kills come between, while and after one of them is closed and compressed.
        lab.environment[f"TUNNEL_{program}_AUDIT__SEGMENT_MIB"] = "1"


async def kill(load: Load, whom: str) -> None:
    """End a program without a word, and start it again."""
    lab = load.scene.lab
    process = lab.relay if whom == "relay" else lab.client
    assert process is not None
    os.killpg(process.pid, signal.SIGKILL)
    if whom == "relay":
        load.serves.clear()
        await process.wait()
        await lab.start_relay()
        load.serves.set()
    else:
        await process.wait()
        await lab.start_client([])


async def run(times: int, seed: int, tell: Callable[[str], None] = lambda _: None) -> Run:
    """Kill so many times, relay or client as the dice say, and hold both logs against the calls."""
    dice, killed, upstream = random.Random(seed), Counter[str](), Counting()
    async with open_scene(upstream=upstream, prepare=_prepare, start=False) as scene:
        for name, kind in CLASSES.items():
            await scene.lab.client_command("tool", "classify", SERVER, name, kind)
        await scene.lab.start_client([SERVER, OTHER])
        load, began = Load(scene, upstream), time.monotonic()
        load.serves.set()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(WORKERS):
                tasks.create_task(load.work())
            for turn in range(1, times + 1):
                await load.reach(dice.randint(1, MOST_CALLS))
                await asyncio.sleep(dice.random() * MOST_SECONDS)
                whom = dice.choice(("relay", "client"))
                await kill(load, whom)
                killed[whom] += 1
                tell(f"{turn}: killed the {whom}; {upstream.reached} calls reached the upstream")
            await load.reach(1)
            load.over = True
        await end(scene.lab.client)
        await end(scene.lab.relay)
        found = account(scene.lab.folder, upstream.counted, load.answers)
    return Run(killed, time.monotonic() - began, found)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="Kill relay and client under load.")
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()

    async def go() -> Run:
        return await run(asked.times, asked.seed, lambda line: print(line, file=sys.stderr))

    done = anyio.run(go)
    if asked.json:
        print(json.dumps(done.as_dict()))
    else:
        for name, value in done.as_dict().items():
            print(f"{name:<28}{value}")
    sys.exit(1 if done.account.faults else 0)


if __name__ == "__main__":
    main()
