"""Makes the indexes of closed segments before anybody asks, in the process that closes them.

It may compute for a minute or two. What it does not come to is made by whoever asks, or the next
time.
"""

import contextlib
import resource
import secrets
from pathlib import Path

from shared.audit.segments import Segment, segment_name, segments

INDEX_SUFFIX = ".index"
VERSION = 3
"""Of what an index holds; SQLite keeps it in the head of the file, as `user_version`."""
_VERSION_AT = slice(60, 64)
WORTH = 1024 * 1024
"""Compressed bytes without an index, from which on it takes a question a noticeable time."""
MAX_CPU_SECONDS = 120


def index_path(folder: Path, first: int) -> Path:
    """Return where the index of the segment that begins with `first` lies."""
    return folder / segment_name(first).replace(".jsonl", INDEX_SUFFIX)


def without(folder: Path) -> list[Segment]:
    """Return the closed segments that have no index of this version; raises AuditError."""
    found = (each for each in segments(folder) if each.compressed)
    return [each for each in found if not _is_current(index_path(folder, each.first))]


def _is_current(path: Path) -> bool:
    # Of another version it would be made anew by whoever asks, the relay itself for example.
    try:
        with path.open("rb") as file:
            head = file.read(_VERSION_AT.stop)
    except OSError:
        return False
    return head[_VERSION_AT] == VERSION.to_bytes(4, "big")


def is_worth(folder: Path) -> bool:
    """Tell whether so much has no index that somebody would notice; raises AuditError, OSError."""
    return sum(each.path.stat().st_size for each in without(folder)) >= WORTH


def make(folder: Path) -> None:
    """Make every index that is missing; raises AuditError, OSError and sqlite3.Error."""
    from shared.audit.query import Query

    tried: set[int] = set()
    with Query(folder) as query:
        # Looked for each time: meanwhile segments are closed, and removed.
        while missing := [each for each in without(folder) if each.first not in tried]:
            segment = missing[0]
            tried.add(segment.first)
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


def make_bounded(folder: Path) -> None:
    """Make them as `make` does, and be killed when that takes more than its time; raises those."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + MAX_CPU_SECONDS
    with contextlib.suppress(OSError, ValueError):  # less is allowed already
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    make(folder)
