"""Which process holds a state folder: it has the lock, and wrote its number into the file.

One that does not answer is not one that does not run: it hangs, or is stopped.
"""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import NamedTuple

LOCK_FILE = "lock"
_DIGITS = 20


class Holder(NamedTuple):
    """Who holds it; `pid` is None for one that could not write its number."""

    pid: int | None
    stopped: bool

    def __str__(self) -> str:
        if self.pid is None:
            return "another process"
        return f"process {self.pid}, which is stopped," if self.stopped else f"process {self.pid}"


def sign(descriptor: int) -> None:
    """Write our number into a lock file that we hold; raises OSError."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def signed(descriptor: int) -> int | None:
    """Read the number in a lock file that another process holds; raises OSError."""
    text = os.pread(descriptor, _DIGITS, 0).decode("ascii", "replace").strip()
    return int(text) if text.isascii() and text.isdigit() else None


def holder_of(path: Path) -> Holder | None:
    """Return who holds a lock file; None when nobody does, or when that cannot be seen."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # Shared, so that two who look do not see each other.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = signed(descriptor)
        return Holder(pid, pid is not None and is_stopped(_stat(pid)))
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None


def _stat(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace")
    return ""


def is_stopped(stat: str) -> bool:
    """Tell from /proc/PID/stat (proc(5)) whether a process is stopped. Pure."""
    # The name before it is in parentheses, and may hold some itself.
    return stat.rpartition(")")[2].split()[:1] in (["T"], ["t"])
