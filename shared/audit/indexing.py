"""Makes the indexes of closed segments before anybody asks, in a process of its own.

A thread would hold up the event loop, which shares the interpreter with it. The process is as
patient as the thread that starts it, is given no environment, and may compute for a minute or two.
What it does not come to is made by whoever asks, or the next time.

`python -m shared.audit.indexing FOLDER`
"""

import contextlib
import resource
import secrets
import subprocess
import sys
from pathlib import Path

import structlog

from shared.audit.segments import Segment, segment_name, segments

log = structlog.get_logger("shared.audit")

INDEX_SUFFIX = ".index"
WORTH = 1024 * 1024
"""Compressed bytes without an index, from which on it takes a question a noticeable time."""
MAX_CPU_SECONDS = 120


def index_path(folder: Path, first: int) -> Path:
    """Return where the index of the segment that begins with `first` lies."""
    return folder / segment_name(first).replace(".jsonl", INDEX_SUFFIX)


def without(folder: Path) -> list[Segment]:
    """Return the closed segments that have no index; raises AuditError."""
    found = (each for each in segments(folder) if each.compressed)
    return [each for each in found if not index_path(folder, each.first).exists()]


class Indexing:
    """Starts that process for one log, one at a time; for one thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._child: subprocess.Popen[bytes] | None = None

    def look(self) -> None:
        """Have missing indexes made if that is worth a process; raises AuditError, OSError."""
        if self._child is not None and self._child.poll() is None:
            return  # it looks again before it ends
        if self._child is not None and self._child.returncode:
            log.warning("indexes are made by whoever asks", ended_with=self._child.returncode)
        self._child = None
        if sum(each.path.stat().st_size for each in without(self._folder)) < WORTH:
            return
        # Isolated: nothing of the environment or of the folder it is started in is imported.
        command = [sys.executable, "-I", "-m", "shared.audit.indexing", str(self._folder)]
        nothing = subprocess.DEVNULL
        self._child = subprocess.Popen(  # noqa: S603
            command, env={}, stdin=nothing, stdout=nothing, stderr=nothing
        )

    def stop(self) -> None:
        """End it."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None


def make(folder: Path) -> None:
    """Make every index that is missing; raises AuditError, OSError and sqlite3.Error."""
    from shared.audit.query import Query

    with Query(folder) as query:
        while missing := without(folder):
            segment = missing[0]
            where = index_path(folder, segment.first)
            draft = where.with_name(f".{where.name}.{secrets.token_hex(4)}")
            try:
                query.make_index(segment, draft)
                # Whole or not at all: nobody asks one that is half made.
                draft.replace(where)
            finally:
                draft.unlink(missing_ok=True)
            if not segment.path.exists():
                # Removed by retention meanwhile: nothing of it may stay.
                where.unlink(missing_ok=True)


if __name__ == "__main__":
    with contextlib.suppress(OSError, ValueError):  # less is allowed already
        resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_SECONDS, MAX_CPU_SECONDS))
    make(Path(sys.argv[1]))
