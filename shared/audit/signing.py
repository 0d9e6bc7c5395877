"""Checkpoints of a log that is written, and what becomes of a segment that is full.

A checkpoint is signed when the records it vouches for are on the disk: after a fault of power it
never says more than is there.
"""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import structlog

from shared.audit.ends import End, open_after, write_end
from shared.audit.indexing import Indexing
from shared.audit.notes import append_note, last_note
from shared.audit.private import AuditError
from shared.audit.segments import compress
from shared.keys import PrivateKey
from shared.record.checkpoint import Checkpoint, sign
from shared.record.tree import Tree
from shared.record.verify import Start

log = structlog.get_logger("shared.audit")

CHECKPOINT_RECORDS = 4096
_IDLE = 19


@dataclass(frozen=True, slots=True)
class _Full:
    """A segment that was left, and what comes after it."""

    first: int
    path: Path
    start: Start


class Signing:
    """Signs for one log; used on the loop, but for a thread that compresses when nobody waits.

    That thread also has indexes made (`Indexing`).
    """

    def __init__(
        self,
        folder: Path,
        origin: str,
        key: PrivateKey,
        size: int,
        open_calls: Mapping[str, int],
    ) -> None:
        self._folder = folder
        self._origin = origin
        self._key = key
        self._open = dict(open_calls)
        """Calls under way where the segment begins that is closed next; the thread's own."""
        self._waiting: deque[tuple[Checkpoint, _Full | None]] = deque()
        self._captured = size
        self._stopped = False
        self.now = False
        """Is a checkpoint wanted, however few records are new?"""
        self.newest = last_note(folder)
        self._indexing = Indexing(folder)
        self._thread = ThreadPoolExecutor(1, "audit-close", _be_patient)

    def is_due(self, written: int) -> bool:
        """Tell whether it is time for a checkpoint of so many records."""
        new = written - self._captured
        return new >= CHECKPOINT_RECORDS or (self.now and new > 0)

    def capture(self, tree: Tree) -> None:
        """Remember a checkpoint of what is in the tree, if it is time for one."""
        if self.is_due(tree.size):
            self._capture(tree, None)
        self.now = False

    def border(self, first: int, path: Path, tree: Tree, before: bytes) -> None:
        """Remember that a segment is full, and what the next one follows."""
        full = _Full(first, path, Start(tree.size, before, tree.edge))
        self._capture(tree, full)

    def _capture(self, tree: Tree, full: _Full | None) -> None:
        self._waiting.append((Checkpoint(self._origin, tree.size, tree.root()), full))
        self._captured = tree.size

    def durable(self, size: int) -> None:
        """Sign what was remembered and is on the disk now; raises OSError, and does it again."""
        while self._waiting and self._waiting[0][0].size <= size:
            point, full = self._waiting[0]
            note = sign(point, self._key)
            append_note(self._folder, note)
            self.newest = note
            self._waiting.popleft()
            if full is not None:
                self._later(full, note)

    def _later(self, full: _Full, note: str) -> None:
        with contextlib.suppress(RuntimeError):  # closed: the next start does it
            self._thread.submit(self._settle, full, note)

    def _settle(self, full: _Full, note: str) -> None:
        try:
            self._open = open_after(full.path, self._open)
            write_end(self._folder, full.first, End(full.start, note, self._open))
        except (OSError, AuditError) as error:
            log.warning("a closed segment stays as it is", path=str(full.path), why=str(error))
        else:
            self._compress([full.path])

    def compress(self, paths: Sequence[Path]) -> None:
        """Compress segments that were closed before."""
        self._thread.submit(self._compress, paths)

    def _compress(self, paths: Sequence[Path]) -> None:
        for path in paths:
            try:
                compress(path, self._is_stopped)
            except OSError as error:
                log.warning("a closed segment stays as it is", path=str(path), why=str(error))
        try:
            if not self._stopped:
                self._indexing.look()
        except (OSError, AuditError) as error:
            log.warning("indexes are made by whoever asks", why=str(error))

    def _is_stopped(self) -> bool:
        return self._stopped

    def close(self) -> None:
        """Stop: what is not compressed yet will be when the log is opened again."""
        self._stopped = True
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._indexing.stop()


def _be_patient() -> None:
    """Let everything else in this program go first."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _IDLE)
