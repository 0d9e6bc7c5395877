"""The log: a folder with segments of lines, checkpoints beside them, and one writer at a time.

Used on the event loop's thread. What is added is in memory until the turn of the loop ends, or
until somebody has it written now; lines that could not be written stay, in order, and go first, so
that a disk that was full leaves no gap in the chain. Bytes go to an offset that is known, so a torn
line is written over.
"""

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import structlog

from shared.audit.chain import Checkpoint, sign
from shared.audit.files import (
    CHECKPOINTS,
    read_back,
    read_or_make_key,
    segment_name,
    sync_and_close,
    take,
    write_at,
)
from shared.audit.private import AuditError, sync_folder
from shared.jsonrpc.canonical import canonical

log = structlog.get_logger("shared.audit")

Make = Callable[[int, int], bytes]
"""Spells a record, canonically, given its number and the time in microseconds since the epoch."""
Tell = Callable[[str | None], None]
"""Called on the loop: None once a record is on the disk, else why it is not."""

CHECKPOINT_RECORDS = 4096
CHECKPOINT_SECONDS = 10.0
LATE_SECONDS = 0.02
"""A completion may wait so long for company: nobody acts on it, and a write costs more than it."""
RETRY_SECONDS = 0.5
SYNC_SECONDS = 1.0
"""What nobody waits for is on the disk after so long all the same."""
MAX_OWED = 64 * 1024 * 1024
"""Bytes of lines that wait for a disk; what comes beyond is counted, and that is a record."""


class AuditLog:
    """A log that is open for writing; `origin` names it in its checkpoints."""

    def __init__(
        self,
        folder: Path,
        origin: str,
        *,
        segment_bytes: int = 64 * 1024 * 1024,
        segment_seconds: float = 86400.0,
    ) -> None:
        """Take the folder, made if it is missing, and read its end; raises AuditError."""
        self.folder = folder
        self.origin = origin
        self._segment_bytes = segment_bytes
        self._segment_seconds = segment_seconds
        self._lock = take(folder)
        self._file = -1
        try:
            self._key = read_or_make_key(folder)
            found = read_back(folder)
        except BaseException:
            os.close(self._lock)
            raise
        self.public = self._key.public
        self.open_calls = found.open_calls
        """Intents without an end, by call: who wrote them was killed."""
        self._hash, self._seq, self._tree = found.hash, found.tree.size, found.tree
        self._path, self._offset = found.path, found.offset
        self._born = time.time()
        self._loop = asyncio.get_running_loop()
        self._lines: list[bytes] = []
        self._leaves: list[bytes] = []
        """Hashes that are not in the tree yet; those of `_lines` are its last ones."""
        self.written = self._seq
        """Records below this number are in the file."""
        self._owed = self._lost = 0
        self._unsynced: list[tuple[int, bytes]] = []
        """What was written and may not be on the disk yet, and at which offset."""
        self.synced = self._seq
        """Records below this number are on the disk."""
        self._waiting: list[tuple[int, Tell]] = []
        self._syncing = False
        self._armed = False
        self._signed = self._seq
        self.failing: str | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._closed = False

    @property
    def size(self) -> int:
        """How many records there are, those in memory included."""
        return self._seq

    # What callers do ----------------------------------------------------------------------------

    def add(self, kind: str, facts: Mapping[str, Any]) -> int:
        """Queue a record; it is written when this turn of the loop is over."""
        return self.put(lambda seq, now: _spelled(kind, facts, seq, now))

    def put(self, make: Make) -> int:
        """Queue a record that spells itself, as `add` does."""
        return self.take(make(self._seq, time.time_ns() // 1000))

    def take(self, record: bytes) -> int:
        """Queue a record that says the number `size` of itself; returns that number."""
        seq = self._seq
        if self._owed > MAX_OWED:
            self._lost += 1
            return seq
        self._append(record)
        if not self._armed:
            self._armed = True
            self._loop.call_soon(self._turn_end)
        return seq

    def take_late(self, record: bytes) -> int:
        """Queue a record as `take` does, that may wait for a `flush`, or for a moment."""
        seq = self._seq
        if self._owed > MAX_OWED:
            self._lost += 1
            return seq
        self._append(record)
        if not self._armed and "late" not in self._timers:
            self._later("late", LATE_SECONDS, self._late)
        return seq

    def flush(self) -> str | None:
        """Write what is queued, now; returns why that is not possible. What is not is owed."""
        if self.failing is None:
            self._flush()
        return self.failing

    def write(self, make: Make) -> int:
        """Write a record, and all that is queued, now; raises AuditError, and then it is not."""
        if self.failing is not None:
            raise AuditError(self.failing)
        return self._write(make)

    def durable(self, seq: int, tell: Tell) -> None:
        """Have `tell` called once the record of this number is on the disk, or cannot be."""
        if seq < self.synced or self.failing is not None:
            tell(None if seq < self.synced else self.failing)
            return
        self._waiting.append((seq, tell))
        if not self._syncing:
            self._sync()

    def checkpoint(self) -> str:
        """Return a signed checkpoint of all that was written."""
        tree, leaves = self._tree, self._leaves
        new = self.written - tree.size
        tree.extend(leaves[:new])
        del leaves[:new]
        return sign(Checkpoint(self.origin, tree.size, tree.root()), self._key)

    def close(self, kind: str = "audit.closed", **facts: Any) -> str | None:
        """Write what is left, and this as the last record; sign it all. Blocks for an fsync.

        Returns why that was not possible. Nothing can be added after.
        """
        if self._closed:
            return self.failing
        self._append(_spelled(kind, facts, self._seq, time.time_ns() // 1000))
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        if self._flush() and self._file >= 0:
            self._sign()
            try:
                os.fsync(self._file)
            except OSError as error:
                self._fail(error)
        if self._lines:
            log.error("records could not be written", count=len(self._lines), why=self.failing)
        waiting, self._waiting = self._waiting, []
        for seq, tell in waiting:
            tell(self.failing if seq >= self.written else None)
        if self._file >= 0:
            os.close(self._file)
        os.close(self._lock)
        return self.failing

    # Writing ------------------------------------------------------------------------------------

    def _append(self, record: bytes) -> None:
        # As `link` and `line_of` do it, without a call more for each record.
        made = sha256(b"\0" + self._hash + record)
        self._hash = made.digest()
        line = b'{"hash":"%b","record":%b}\n' % (made.hexdigest().encode(), record)
        self._lines.append(line)
        self._leaves.append(self._hash)
        self._owed += len(line)
        self._seq += 1

    def _write(self, make: Make) -> int:
        before, seq = self._hash, self._seq
        self._append(make(seq, time.time_ns() // 1000))
        if self._flush():
            return seq
        # Nobody acts on it, so it must not turn up later; what was queued before it is owed.
        self._owed -= len(self._lines.pop())
        self._leaves.pop()
        self._hash, self._seq = before, seq
        raise AuditError(self.failing or "nothing can be written")

    def _turn_end(self) -> None:
        self._armed = False
        if self.failing is None and not self._closed:
            self._flush()

    def _late(self) -> None:
        if self.failing is None:
            self._flush()

    def _flush(self) -> bool:
        """Write every line that waits; False when the disk does not take them."""
        if not self._lines:
            return self.failing is None
        data = b"".join(self._lines)
        try:
            if self._file < 0 or self._is_full():
                self._next_segment()
            write_at(self._file, data, self._offset)
        except OSError as error:
            self._fail(error)
            return False
        self._unsynced.append((self._offset, data))
        self._offset += len(data)
        self._lines.clear()
        self.written = self._seq
        self._owed = 0
        self._recovered()
        self._later("sync", SYNC_SECONDS, self._sync)
        if self.written - self._signed >= CHECKPOINT_RECORDS:
            self._sign()
        else:
            self._later("sign", CHECKPOINT_SECONDS, self._sign)
        return True

    def _is_full(self) -> bool:
        old = time.time() - self._born > self._segment_seconds
        return self._offset > 0 and (old or self._offset >= self._segment_bytes)

    def _next_segment(self) -> None:
        """Open the segment to write to: the last one, or a new one when it is full."""
        if self._file >= 0:
            os.fdatasync(self._file)
            os.close(self._file)
            self._file = -1
            self.synced = self.written
            self._unsynced = []
        if self._is_full():
            self._sign()
            self._path = None
        if self._path is None:
            self._path = self.folder / segment_name(self.written)
            self._offset = 0
            self._born = time.time()
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(self._path, flags, 0o600)
        os.ftruncate(self._file, self._offset)
        sync_folder(self.folder)

    def _sign(self) -> None:
        """Put a checkpoint beside the segments; one that cannot be written is made again."""
        if self._signed == self.written:
            return
        note = self.checkpoint().encode()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            file = os.open(self.folder / CHECKPOINTS, flags, 0o600)
            try:
                size = os.fstat(file).st_size
                if os.write(file, note) != len(note):
                    os.ftruncate(file, size)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                os.close(file)
        except OSError as error:
            self._fail(error)
            return
        self._signed = self.written

    # The disk -----------------------------------------------------------------------------------

    def _sync(self) -> None:
        """Have a thread wait for the disk, once for all who wait."""
        self._timers.pop("sync", None)
        if self._syncing or self._file < 0 or self._closed or self.failing is not None:
            return
        self._syncing = True
        size, path, file = self.written, self._path, os.dup(self._file)
        self._unsynced, held = [], self._unsynced
        syncing = self._loop.run_in_executor(None, sync_and_close, file)

        def done(future: "asyncio.Future[None]") -> None:
            self._syncing = False
            error = None if future.cancelled() else future.exception()
            if error is None:
                self.synced = max(self.synced, size)
            elif path == self._path:
                # The kernel may have dropped those pages: they are written again.
                self._unsynced = [*held, *self._unsynced]
                self._fail(error if isinstance(error, OSError) else OSError(str(error)))
            self._tell()

        syncing.add_done_callback(done)

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for seq, tell in waiting:
            if seq < self.synced:
                tell(None)
            elif self.failing is not None:
                tell(self.failing)
            else:
                self._waiting.append((seq, tell))
        if self._waiting:
            self._sync()

    def _fail(self, error: OSError) -> None:
        if self.failing is None:
            log.error("the log cannot be written", folder=str(self.folder), why=error.strerror)
        self.failing = error.strerror or str(error)
        self._loop.call_soon(self._tell)
        self._later("retry", RETRY_SECONDS, self._retry)

    def _retry(self) -> None:
        """See whether the disk takes what is owed, from the last byte that it surely has."""
        self._timers.pop("retry", None)
        if self._closed or self.failing is None:
            return
        if self._syncing:
            self._later("retry", RETRY_SECONDS, self._retry)
            return
        try:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
            if self._path is not None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                self._file = os.open(self._path, flags, 0o600)
                for offset, data in self._unsynced:
                    write_at(self._file, data, offset)
                os.ftruncate(self._file, self._offset)
                os.fdatasync(self._file)
        except OSError as error:
            self._fail(error)
            return
        facts = {"lost": self._lost, "why": self.failing}
        with contextlib.suppress(AuditError):
            self._write(lambda seq, now: _spelled("audit.failed", facts, seq, now))
            self._lost = 0

    def _recovered(self) -> None:
        if self.failing is not None:
            log.warning("the log can be written again", folder=str(self.folder))
            self.failing = None

    def _later(self, name: str, seconds: float, act: Callable[[], None]) -> None:
        if name not in self._timers and not self._closed:
            self._timers[name] = self._loop.call_later(seconds, self._due, name, act)

    def _due(self, name: str, act: Callable[[], None]) -> None:
        self._timers.pop(name, None)
        act()


def _spelled(kind: str, facts: Mapping[str, Any], seq: int, now: int) -> bytes:
    return canonical({**facts, "kind": kind, "seq": seq, "time": now, "v": 1})
