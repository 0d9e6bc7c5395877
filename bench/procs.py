"""Start and stop the processes of a benchmark and account for their CPU and memory.

Every process is started here in a session of its own and is stopped by its process group; what left
that group on its own (a daemon's forked connection) is stopped by its pid. Nothing is ever stopped
by name.
"""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Stat:
    """The part of /proc/PID/stat that accounting needs (proc(5)); times in clock ticks."""

    parent: int
    ticks: int
    started: int


def parse_stat(text: str) -> Stat:
    """Read one /proc/PID/stat line; ValueError when it is not one.

    The ticks include those of children already waited for, so that short-lived helpers count.
    """
    # The command name is in parentheses and may itself hold spaces and parentheses.
    _, found, rest = text.rpartition(")")
    fields = rest.split()
    if not found or len(fields) < 20:
        raise ValueError("not a stat line")
    return Stat(int(fields[1]), sum(int(field) for field in fields[11:15]), int(fields[19]))


def parse_busy(text: str) -> int:
    """Ticks of all cores, from the text of /proc/stat, neither idle nor waiting for disks."""
    head, *fields = text.split("\n", 1)[0].split()
    if head != "cpu" or len(fields) < 8:
        raise ValueError("not the text of /proc/stat")
    values = [int(field) for field in fields[:8]]
    return sum(values) - values[3] - values[4]


def descendants(parents: Mapping[int, int], roots: Iterable[int]) -> list[int]:
    """`roots` and everything below them, from a pid -> parent pid table."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    todo = [pid for pid in roots if pid in parents]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def _stats() -> dict[int, Stat]:
    table = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            # A process may end between the listing and the reading.
            with contextlib.suppress(OSError, ValueError):
                table[int(entry.name)] = parse_stat((entry / "stat").read_text())
    return table


def resident_kib(pids: Iterable[int]) -> int:
    """Resident memory of some processes in KiB, shared pages counted in each."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in (PROC / str(pid) / "status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1])
    return total


class Group:
    """The processes of one peer (or one upstream), accounted for and stopped together."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, argv: list[str], env: Mapping[str, str] | None = None) -> int:
        """Start a program with its output in `name`.log (one program a name); returns its pid."""
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(env or {})},
                cwd=self.folder,
                start_new_session=True,
            )
        self._started[name] = process
        return process.pid

    def pid(self, name: str) -> int:
        """The process of a program that was started; KeyError when there is none."""
        return self._started[name].pid

    def stats(self) -> dict[int, Stat]:
        """Our living processes and all below them."""
        table = _stats()
        parents = {pid: stat.parent for pid, stat in table.items()}
        roots = [process.pid for process in self._started.values()]
        return {pid: table[pid] for pid in descendants(parents, roots)}

    def cpu_seconds(self) -> float:
        """User and system time used so far by the living trees."""
        return sum(stat.ticks for stat in self.stats().values()) / TICKS_PER_SECOND

    def resident_kib(self) -> int:
        return resident_kib(self.stats())

    def ended(self) -> list[str]:
        """The programs that ended by themselves: with which code, and their last words."""
        return [
            f"{name} ended with {process.returncode}: {self._last_words(name)}"
            for name, process in self._started.items()
            if process.poll() is not None
        ]

    def _last_words(self, name: str) -> str:
        lines = (self.folder / f"{name}.log").read_text(errors="replace").splitlines()
        return lines[-1][-200:] if lines else "(nothing)"

    def stop(self, patience: float = 5.0) -> None:
        """Stop everything: a polite signal to each group, the hard one after `patience` seconds."""
        before = self.stats()
        for process in reversed(self._started.values()):
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + patience
        for process in self._started.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        # sshd gives each connection a session of its own, out of reach of killpg.
        after = _stats()
        for pid, stat in before.items():
            if pid in after and after[pid].started == stat.started:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._started.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def busy_ns(pid: int) -> int:
    """Nanoseconds that the threads of a process have run, children aside (schedstats of Linux)."""
    tasks = (PROC / str(pid) / "task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def own_cpu_seconds() -> float:
    """CPU time of this process and of the children it has waited for (the load generators)."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


class Meter:
    """CPU of a peer over a `with` block, and how many cores strangers used meanwhile.

    `cpu` is in seconds, `others` in cores. Waits at most `patience` seconds for a quiet machine.
    """

    QUIET_CORES = 0.35

    def __init__(self, peer: Group, ours: Iterable[Group], patience: float = 4.0) -> None:
        self._peer = peer
        self._ours = list(ours)
        self._patience = patience
        self.cpu = 0.0
        self.others = 0.0

    def _reading(self) -> tuple[float, float, float, float]:
        busy = parse_busy((PROC / "stat").read_text()) / TICKS_PER_SECOND
        ours = sum(group.cpu_seconds() for group in self._ours) + own_cpu_seconds()
        return time.monotonic(), busy, ours, self._peer.cpu_seconds()

    def __enter__(self) -> Self:
        end = time.monotonic() + self._patience
        last = self._reading()
        while time.monotonic() < end:
            time.sleep(0.25)
            now = self._reading()
            quiet = (now[1] - last[1]) / (now[0] - last[0]) < self.QUIET_CORES
            last = now
            if quiet:
                break
        self._before = last
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        then, now = self._before, self._reading()
        self.cpu = now[3] - then[3]
        strangers = (now[1] - then[1]) - (now[2] - then[2])
        self.others = round(max(0.0, strangers) / max(now[0] - then[0], 1e-6), 2)


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_port(port: int, group: Group, timeout: float = 30.0) -> None:
    """Wait until something listens on a loopback port; RuntimeError when it never does."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if told := group.ended():
            raise RuntimeError("; ".join(told))
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on loopback port {port} after {timeout:g} s")
