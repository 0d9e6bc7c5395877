"""What the programs stand on fails: R14 the store, R15 the disk, R16 the clock; R13 revocation."""

import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import anyio

from tests.helpers.agent import call
from tests.helpers.disks import fill, small_disk
from tests.integration import test_clock
from tests.integration import test_store_failures as stores
from tests.integration.scene import Grant, Scene, eventually, open_scene
from tests.integration.test_sessions import running
from tests.system.fault_rows.table import Line, at_most, exactly, quantile, row, shown

REVOCATIONS = 100
OUTAGE_SECONDS = 60.0


@row("R13", "a session revoked in the middle of its stream, one relay")
async def revoked() -> list[Line]:
    """By the command that admins give, a hundred times."""
    cut, upstream = [], []
    async with open_scene() as scene:
        for number in range(REVOCATIONS):
            made, case = await scene.quick_grant(), f"revoked-{number}"
            async with made.agent.open(call("driven", id=number, case=case)) as reply:
                seen = await running(scene, reply, case)
                began = time.monotonic()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(partial(scene.order, "session_revoke", session=made.id))
                    await reply.end()
                    cut.append(time.monotonic() - began)
                    await seen.closed.wait()
                    upstream.append(time.monotonic() - began)
            scene.upstream.seen.clear()
    return [
        at_most("the agent's stream cut, p99", quantile(cut, 0.99) * 1000, 100, "ms", 1),
        at_most("the upstream's call cut, p99", quantile(upstream, 0.99) * 1000, 1000, "ms", 1),
        shown("both, the slowest", f"{max(*cut, *upstream) * 1000:.1f} ms of {REVOCATIONS}"),
    ]


@row("R14", "the database held by another process for 60 s")
async def store_down() -> list[Line]:
    """Open sessions live on for the lease; then nothing is served, and all comes back."""
    async with stores.a_scene() as (scene, grant):
        with stores.locked(stores.database(scene)):
            began = time.monotonic()
            assert await stores.serves(scene)
            await stores.revokes_unstored(scene, grant)
            await stores.lapses(scene)
            lapsed = time.monotonic() - began
            await anyio.sleep(max(0.0, began + OUTAGE_SECONDS - time.monotonic()))
            before = len(scene.upstream.calls("unavailable"))
            assert await stores.unavailable(scene)
            ran = len(scene.upstream.calls("unavailable")) - before
        return [
            shown("open sessions refused after (lease 3 s)", f"{lapsed:.1f} s"),
            exactly("calls dispatched after the lease", ran, 0),
            *await recovered(scene, grant),
        ]


async def recovered(scene: Scene, grant: Grant) -> list[Line]:
    """See the relay come back by itself, with what was revoked meanwhile still revoked."""
    since = time.monotonic()
    await eventually(lambda: stores.serves(scene), 0.02)
    back = time.monotonic() - since
    await eventually(lambda: stores.is_whole(scene))
    ended = await grant.agent.ask(call("echo", case="ended"))
    said = f"{ended.status} {ended.body[-120:].decode() if ended.status != 401 else ''}".strip()
    verified = await scene.lab.relay_command("audit", "verify")
    return [
        at_most("answers again, without a restart", back, 5, "s"),
        Line("a session revoked meanwhile is told", "401", said, ended.status == 401),
        Line("the relay's log", "verifies", last_line(verified), True),
    ]


def last_line(text: str) -> str:
    """Return the last thing a command said."""
    return (text.strip().splitlines() or [""])[-1]


@row("R15", "a disk of 4 MiB, full: database, journal and both logs are on it")
async def disk_full() -> list[Line]:
    """Nothing that writes is dispatched, and revocation still cuts."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        disk = stack.enter_context(small_disk(Path(folder) / "disk"))
        async with stores.a_scene(folder=disk) as (scene, grant):
            fillers: list[Path] = []
            await stores.revokes_unstored(scene, grant, fails=lambda: fillers.append(fill(disk)))
            await stores.lapses(scene)
            ran = 0
            for _ in range(100):
                before = len(scene.upstream.calls("unavailable"))
                await stores.unavailable(scene)
                ran += len(scene.upstream.calls("unavailable")) - before
            fillers[0].unlink()
            return [
                Line(
                    "a revocation while it is full", "cuts", "cut, reported as not yet stored", True
                ),
                exactly("calls dispatched while it was full", ran, 0, 100),
                *await recovered(scene, grant),
            ]


@row("R16", "the clock jumps by two hours, back and forth, live and at a start")
async def clock() -> list[Line]:
    """The scenes of the tests of the clock; each fails when a timer moves or a session revives."""
    for scene in (
        test_clock.test_r16_the_clock_jumps_while_calls_run,
        test_clock.test_r16_a_relay_that_starts_with_its_clock_set_back_revives_nothing,
    ):
        with tempfile.TemporaryDirectory() as folder:
            await scene(Path(folder))
    said = "held in both scenes"
    return [
        Line("timers of lease and link", "stay", said, True),
        Line("sessions that ended by time", "stay ended", said, True),
    ]
