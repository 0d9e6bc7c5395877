"""Finding and ending what a child left behind outside its process group.

A process that called setsid, or was orphaned, is in no group and no tree of ours any more. What it
cannot easily shed is its environment: every child gets a random mark there, which all it starts
inherit, and /proc shows it. On systems without /proc only the process group is ended.
"""

import os
import select
import signal
from contextlib import suppress
from pathlib import Path

MARK = "MCP_TUNNEL_CHILD"
"""The variable that holds the mark; the only one a child gets that nobody configured."""

_PROC = Path("/proc")
_PASSES = 5
_WAIT_MS = 1000


def end_strays(mark: str) -> int:
    """Send SIGKILL to every process that carries `mark` and return how many there were.

    Blocks for some milliseconds (and at most a second a process that does not die): run it in a
    thread. A stray may fork while we look, so we look until none is found.
    """
    needle = f"{MARK}={mark}".encode()
    ended = 0
    for _ in range(_PASSES):
        found = [pid for pid in _processes() if _carries(pid, needle)]
        ended += sum(_end(pid, needle) for pid in found)
        if not found:
            break
    return ended


def _processes() -> list[int]:
    with suppress(OSError):
        return [int(entry) for entry in os.listdir(_PROC) if entry.isdecimal()]  # noqa: PTH208
    return []


def _carries(pid: int, needle: bytes) -> bool:
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return needle in environment.split(b"\0")


def _end(pid: int, needle: bytes) -> int:
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return 0
    try:
        # The number may have gone to another process since; the handle cannot.
        if not _carries(pid, needle):
            return 0
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        _reap(handle)
    except OSError:
        return 0
    finally:
        os.close(handle)
    return 1


def _reap(handle: int) -> None:
    """Wait for a process to be gone; as process 1 of a container we inherit it and must reap it."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.poll(_WAIT_MS)
    with suppress(ChildProcessError):
        os.waitid(os.P_PIDFD, handle, os.WEXITED | os.WNOHANG)
