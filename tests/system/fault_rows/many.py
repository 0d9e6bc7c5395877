"""Many at once: R10 a thousand links that come back together, R11 thousands of idle streams."""

import asyncio
import contextlib
import gc
import json
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio

from bench.procs import busy_ns
from tests.helpers.agent import call, connected
from tests.helpers.recording_upstream import Seen
from tests.helpers.tunnel import TUNNEL
from tests.integration.scene import OTHER, SERVER, Scene, open_scene
from tests.system.fault_rows.killed import kill
from tests.system.fault_rows.slow import MIB, Deaf, paced
from tests.system.fault_rows.table import Line, at_most, exactly, quantile, row, shown
from tests.system.test_endurance import sizes

LINKS = 1000
STREAMS = 10_000
SERVERS = (SERVER, OTHER, "third")
"""A client opens at most 4,096 connections to a server, and each stream keeps one."""
SESSIONS = 21
AT_A_TIME = 100
ENROL_SECONDS = 400
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
IDLE_SECONDS = 10.0
PACED_SECONDS = 15.0


@asynccontextmanager
async def many_links(scene: Scene, count: int) -> AsyncIterator[None]:
    """Hold so many links beside the lab's own, each with a key of its own, in one process."""
    lab = scene.lab
    # A fleet has a disk each; here all counters would wait for one, on one event loop.
    folder = tempfile.mkdtemp(prefix="links-", dir=MEMORY)
    spec = {
        "relay": "ws" + lab.origin.removeprefix("http"),
        "ca_file": None,
        "socket": str(lab.folder / "relay" / "state" / "control.sock"),
        "tunnel": TUNNEL,
        "folder": folder,
        "count": count,
    }
    with (lab.folder / "links.log").open("wb") as log:
        holder = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.many_links"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        holder.stdin.write(json.dumps(spec).encode() + b"\n")
        with anyio.fail_after(ENROL_SECONDS):
            said = await holder.stdout.readline()
        if said != b"READY\n":
            raise RuntimeError(f"no links: {scene.log('links.log')[-300:]}")
        yield
    finally:
        if holder.returncode is None:
            holder.kill()
        await holder.wait()
        await asyncio.to_thread(shutil.rmtree, folder)


async def count_links(scene: Scene) -> int:
    """Return how many links the relay has."""
    try:
        found: int = (await scene.ready())["links"]
    except OSError:
        return 0
    return found


@row("R10", f"relay killed with {LINKS:,} links, each of a client of its own")
async def storm() -> list[Line]:
    """All of them dial again when it is back."""
    limits = {"limits.enrolments_per_minute": "1000000"}
    async with open_scene(limits) as scene, many_links(scene, LINKS):
        wanted = LINKS + scene.links
        with anyio.fail_after(60):
            while await count_links(scene) < wanted:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
        await kill(scene.lab.relay)
        await scene.lab.start_relay()
        assert scene.lab.relay is not None
        began, busy, most = time.monotonic(), busy_ns(scene.lab.relay.pid), 0.0
        with anyio.fail_after(120):
            while (up := await count_links(scene)) < wanted:
                if up <= 0.99 * wanted:
                    most = time.monotonic() - began
                await asyncio.sleep(0.02)
        took = time.monotonic() - began
        used = (busy_ns(scene.lab.relay.pid) - busy) / 1e9
        failed = sum([(await scene.agent.ask(call("echo"))).status != 200 for _ in range(200)])
        return [
            at_most("all links back after the relay listens", took, 15, "s"),
            at_most("99 % of them", most, 10, "s"),
            at_most("a core's share that the relay used meanwhile", used / took * 100, 80, "%", 0),
            exactly("calls after that which failed", failed, 0, 200),
        ]


class Streaming(Deaf):
    """Begins an event stream for each driven call, and says no more."""

    async def serve(self, seen: Seen) -> None:
        """Answer one request."""
        await super().serve(seen)
        if seen.document.get("params", {}).get("name") == "driven":
            await seen.event_stream()


def streams_here() -> int:
    """Return how many streams this process can hold both ends of, beside its other files."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        hard = max(hard, 2 * STREAMS + 2000)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return min(STREAMS, (most - 300) // 2)


@row("R11", f"{STREAMS:,} idle event streams, of {SESSIONS} sessions for {len(SERVERS)} servers")
async def idle_streams() -> list[Line]:
    """They cost memory and next to no time."""
    count = streams_here()
    limits = {"limits.session_streams": "0", "limits.user_streams": "0"}
    async with (
        open_scene(limits, upstream=Streaming(), servers=SERVERS) as scene,
        AsyncExitStack() as stack,
    ):
        grants = [await scene.grant(SERVERS[each % len(SERVERS)]) for each in range(SESSIONS)]
        alone = await paced(scene, PACED_SECONDS)

        async def begin(number: int) -> None:
            agent = grants[number % SESSIONS].agent
            reply = await stack.enter_async_context(connected(agent.port))
            reply.transport.write(agent.encode(call("driven", id=number)))
            await reply.head()
            assert reply.status == 200, f"stream {number}: {reply.status} {reply.headers}"

        for start in range(0, count, AT_A_TIME):
            numbers = range(start, min(count, start + AT_A_TIME))
            await asyncio.gather(*map(begin, numbers))
        gc.freeze()  # both other ends are here, and looking through them would hold up the calls
        stack.callback(gc.unfreeze)
        held = (await scene.ready())["streams"]
        assert scene.lab.relay is not None
        pid = scene.lab.relay.pid
        busy = busy_ns(pid)
        await asyncio.sleep(IDLE_SECONDS)
        share = (busy_ns(pid) - busy) / 1e9 / IDLE_SECONDS * 100
        beside = await paced(scene, PACED_SECONDS)
        added = (quantile(beside, 0.99) - quantile(alone, 0.99)) * 1000
        memory = {who: size.memory / MIB for who, size in sizes(scene).items()}
        return [
            shown("streams held", f"{held:,}"),
            at_most("memory of the relay", memory["relay"], 200, "MiB", 0),
            shown("memory of the client", f"{memory['client']:,.0f} MiB"),
            at_most("a core's share that the relay uses", share, 5, "%", 1),
            at_most("a new call takes longer by, p99", added, 10, "ms", 1),
        ]
