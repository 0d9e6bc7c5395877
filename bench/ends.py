"""How soon calls end that nobody revokes: `python -m bench.ends [COUNT] [--write-doc]`.

Two ways. Sessions end by time while each has a call running: measured is from that very second
to the end of the agent's stream, and to the end of the upstream's call. And the relay is made to
stand still, so that the client's link is up and nothing comes over it: measured is until the client
ends the upstream's calls by itself, whose bound is its lease. Exit code 1 when a promise is missed.
"""

import asyncio
import datetime
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from bench import doc
from bench.base import HOST, Peer, Target
from bench.load import FIRST_ID, call_body, post
from bench.needs import NGINX
from bench.procs import Group
from bench.product import tunnel
from bench.revoke import SLOW_PORT, Both, Slow, SlowConnection, Stream, ask, bearing
from bench.stats import quantile
from bench.upstreams import start_static

TTL = 3.0
"""Seconds that a session of the first kind lives."""
EXPIRY_MS = 1000.0
LEASE_MS = 30_000.0
"""The promises: an end in mid-stream, and the lease as it is delivered."""
TIMER_MS = 250.0
"""How late the timer of the lease may be on a machine that others use."""
START = "<!-- ends: written by `python -m bench.ends --write-doc`, do not edit -->"
END = "<!-- end of ends -->"


@dataclass
class Ends:
    """Milliseconds, one of each for each call."""

    agent: list[float] = field(default_factory=list)
    upstream: list[float] = field(default_factory=list)
    lease: list[float] = field(default_factory=list)
    early: int = 0
    """Streams that ended before their session did."""

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        timely = max(self.agent + self.upstream) <= EXPIRY_MS and not self.early
        return timely and max(self.lease) <= LEASE_MS + TIMER_MS

    def table(self) -> str:
        """The figures as a Markdown table."""
        rows = ["| from | to | p50 | worst | promise |", "| --- | --- | ---: | ---: | ---: |"]
        for since, what, values, bound in (
            ("the session's end by time", "the agent's stream ended", self.agent, EXPIRY_MS),
            (
                "the session's end by time",
                "the upstream's call cancelled",
                self.upstream,
                EXPIRY_MS,
            ),
            ("the link gone silent", "the upstream's call cancelled", self.lease, LEASE_MS),
        ):
            middle, worst = quantile(sorted(values), 0.5), max(values)
            rows.append(
                f"| {since} | {what} | {middle:,.0f} ms | {worst:,.0f} ms | {bound:,.0f} ms |"
            )
        counted = (
            f"{len(self.agent)} sessions that ended by time, {len(self.lease)} calls of a silent"
        )
        return "\n".join([*rows, "", f"{counted} link. Ended too early: {self.early}."])


@dataclass
class Bench:
    """What runs: the way to the slow upstream, and that upstream."""

    place: Target
    control: Path
    slow: Slow

    async def begin(self, call: int, ttl: float) -> tuple[Stream, float]:
        """Begin a call of a session of its own; returns its stream and when the session ends."""
        made = await ask(
            self.control,
            "session_create",
            user=f"https://id.example#{call}",
            agent="a",
            server="bench/slow",
            ttl=ttl,
            idle=ttl,
        )
        request = post(bearing(self.place, made["token"]), call_body("echo", {}, call))
        loop = asyncio.get_running_loop()
        _, stream = await loop.create_connection(lambda: Stream(request), HOST, self.place.port)
        await asyncio.wait_for(self.slow.started(call).wait(), 20)
        return stream, made["session"]["expires"] - time.time() + time.monotonic()

    async def ended(self, call: int) -> float:
        """Wait for the end of a call at the upstream."""
        with anyio.fail_after(2 * LEASE_MS / 1000):
            await self.slow.over(call).wait()
        return self.slow.ended[call]

    async def by_time(self, count: int, ends: Ends) -> None:
        """Let sessions end by time, each in the middle of a call."""
        calls = range(FIRST_ID, FIRST_ID + count)
        begun = [(call, *await self.begin(call, TTL)) for call in calls]
        for call, stream, due in begun:
            ended = await asyncio.wait_for(stream.ended, 10)
            ends.agent.append((ended - due) * 1000)
            ends.upstream.append((await self.ended(call) - due) * 1000)
            ends.early += ended < due

    async def by_lease(self, count: int, ends: Ends, relay: int) -> None:
        """Let the relay stand still while calls run."""
        calls = range(2 * FIRST_ID, 2 * FIRST_ID + count)
        streams = [(await self.begin(call, 600.0))[0] for call in calls]
        began = time.monotonic()
        os.kill(relay, signal.SIGSTOP)
        try:
            for call in calls:
                ends.lease.append((await self.ended(call) - began) * 1000)
        finally:
            os.kill(relay, signal.SIGCONT)
        assert len(streams) == count


async def run(count: int, folder: Path) -> Ends:
    """Start everything, measure, stop everything."""
    slow, ends = Slow(), Ends()
    server = await asyncio.get_running_loop().create_server(lambda: SlowConnection(slow), HOST, 0)
    SLOW_PORT["slow"] = server.sockets[0].getsockname()[1]
    with Group(folder / "upstream") as under, Group(folder / "peer") as group:
        static = await asyncio.to_thread(start_static, under)
        paths: Mapping[str, str] = {"call": "/mcp", "slow": "/mcp"}
        upstream = Both("static", static.port, under, dict(paths))
        peer: Peer = await asyncio.to_thread(tunnel, group, upstream)
        control = folder / "peer" / "relay" / "state" / "control.sock"
        bench = Bench(peer.targets["slow"], control, slow)
        await bench.by_time(count, ends)
        await bench.by_lease(count, ends, peer.relay_pids[0])
    server.close()
    return ends


def main() -> None:
    """Print the table; with --write-doc put it into docs/benchmarks.md."""
    given = [word for word in sys.argv[1:] if word != "--write-doc"]
    NGINX.path()
    with tempfile.TemporaryDirectory(prefix="ends-") as folder:
        ends = asyncio.run(run(int(given[0]) if given else 20, Path(folder)))
    print(ends.table())
    if "--write-doc" in sys.argv:
        when = doc.machine(datetime.datetime.now(datetime.UTC))
        doc.write(f"{when}\n\n{ends.table()}", START, END)
    sys.exit(0 if ends.kept else 1)


if __name__ == "__main__":
    main()
