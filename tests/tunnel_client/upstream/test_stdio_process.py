import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
import structlog

from tests.helpers.upstream_peer import DEADLINE, command, eventually, is_alive, upstream_of
from tunnel_client.upstream.stdio_command import StdioCommand, StdioLimits
from tunnel_client.upstream.stdio_process import Child

ROOT = Path(__file__).parents[3]


class Started:
    """A child with what it said."""

    def __init__(self, *options: str, program: StdioCommand | None = None, grace: float = 0.2):
        self.lines: list[bytes] = []
        self.ends: list[str] = []
        self.gone = False
        self.child = Child(
            program or command(*options),
            StdioLimits(grace=grace, fast_grace=grace),
            structlog.get_logger(),
            self.lines.append,
            self.ends.append,
            self._gone,
        )
        self.child.start()

    def _gone(self) -> None:
        self.gone = True

    async def answer(self) -> dict[str, object]:
        """Wait until it serves: only then are its signal handlers in place."""
        request = {"jsonrpc": "2.0", "id": 1, "method": "server/discover"}
        self.child.send(json.dumps(request).encode())
        await eventually(lambda: bool(self.lines))
        found: dict[str, object] = json.loads(self.lines[0])
        return found

    async def stopped(self, fast: bool = False) -> None:
        self.child.stop(fast)
        with anyio.fail_after(DEADLINE):
            await self.child.wait_gone()


def is_listed(pid: int) -> bool:
    """Tell whether the process table still has it, zombies included."""
    return Path(f"/proc/{pid}").exists()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_polite_child_ends_with_its_stdin() -> None:
    started = Started(grace=60.0)
    assert (await started.answer())["id"] == 1
    await started.stopped()
    assert started.gone
    assert started.ends == []
    assert not is_alive(started.child.pid)


@pytest.mark.parametrize("fast", [False, True])
async def test_a_child_that_ignores_sigterm_is_killed_and_reaped(fast: bool) -> None:
    """L09."""
    started = Started("deaf")
    await started.answer()
    await started.stopped(fast)
    assert not is_listed(started.child.pid)


async def test_stopping_in_a_hurry_cuts_a_polite_stop_short() -> None:
    started = Started("deaf", grace=60.0)
    await started.answer()
    started.child.stop()
    object.__setattr__(started.child._limits, "fast_grace", 0.1)
    await started.stopped(fast=True)


@pytest.mark.parametrize("detached", [False, True])
async def test_nothing_a_child_started_outlives_it(detached: bool) -> None:
    """L09: grandchildren in the group, and those in a session of their own."""
    async with upstream_of() as peer:
        reply = await peer.modern_call("spawn", {"detached": detached}).done()
        pid = int(reply.text)
        assert is_alive(pid)
    await eventually(lambda: not is_alive(pid))


async def test_nothing_a_crashed_child_started_outlives_it() -> None:
    """L09."""
    async with upstream_of() as peer:
        pids = [
            int((await peer.modern_call("spawn", {"detached": each}).done()).text)
            for each in (True, False)
        ]
        await peer.modern_call("crash").done()
        await eventually(lambda: not any(map(is_alive, pids)))


@pytest.mark.slow
@pytest.mark.slow
async def test_two_hundred_cycles_leave_no_process_and_no_descriptor() -> None:
    """L09."""
    before = descriptors()
    for _ in range(20):
        batch = [Started() for _ in range(10)]
        pids = [each.child.pid for each in batch]
        await asyncio.gather(*(each.stopped() for each in batch))
        assert not any(map(is_listed, pids))
    assert descriptors() <= before


async def test_an_exit_is_told_once_with_its_status() -> None:
    started = Started("crash")
    with anyio.fail_after(DEADLINE):
        await started.child.wait_gone()
    assert len(started.ends) == 1
    assert not started.child.running
    started.child.send(b"{}")
    started.child.stop()


async def test_what_a_child_says_last_is_still_read() -> None:
    text = "print('x' * 50000, flush=True)"
    started = Started(program=StdioCommand((sys.executable, "-S", "-c", text)))
    with anyio.fail_after(DEADLINE):
        await started.child.wait_gone()
    assert started.lines == [b"x" * 50_000]


async def test_a_child_that_closes_its_output_is_ended() -> None:
    async with upstream_of(grace=0.2) as peer:
        reply = await peer.modern_call("shut").done()
        assert reply.failed is not None
        await eventually(lambda: peer.upstream.children == 0)


async def test_a_child_that_does_not_read_makes_requests_wait_without_blocking_us() -> None:
    text = "import time; time.sleep(600)"
    started = Started(program=StdioCommand((sys.executable, "-S", "-c", text)))
    for _ in range(3):
        started.child.send(b"x" * 1_000_000)
    assert 2_900_000 < started.child.unsent <= 3_000_003
    await started.stopped()


async def test_a_program_that_does_not_exist_is_an_error_at_once() -> None:
    with pytest.raises(OSError, match="No such file"):
        Started(program=StdioCommand(("/nonexistent/server",)))


async def test_without_a_pidfd_the_exit_is_noticed_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    started = Started()
    await started.stopped()
    assert started.gone


async def test_children_die_with_a_client_that_was_killed(tmp_path: Path) -> None:
    """L09: a client that gets SIGKILL cannot clean up, so the kernel has to."""
    script = (
        "import asyncio\n"
        "from tests.helpers.upstream_peer import upstream_of\n"
        "async def main():\n"
        "    async with upstream_of('deaf') as peer:\n"
        "        reply = await peer.modern_call('facts').done()\n"
        "        print('PID', reply.text, flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    client = subprocess.Popen(  # noqa: ASYNC220 - must be killed from outside of the loop
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert client.stdout is not None
    try:
        lines = iter(client.stdout.readline, "")
        said = next(line for line in lines if line.startswith("PID"))
        pid = json.loads(said.removeprefix("PID "))["pid"]
        assert is_alive(pid)
    finally:
        os.kill(client.pid, signal.SIGKILL)
        client.wait()
        client.stdout.close()
    await eventually(lambda: not is_alive(pid))
