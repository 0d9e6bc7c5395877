"""The log: a folder of segments, checkpoints beside them, and one writer at a time.

Used on the event loop's thread. What is added is in memory until the turn of the loop ends, or
until somebody has it written now; lines that could not be written stay, in order, and go first, so
that a disk that was full leaves no gap in the numbers. A thread of the log's own waits for the
disk, and a process closes what is full.
"""

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from shared.audit.disk import Disk
from shared.audit.private import AuditError, lock_folder
from shared.audit.recovery import Found, ended_by_restart, open_folder
from shared.audit.segments import segment_name
from shared.audit.signing import Signing
from shared.audit.syncing import Syncing
from shared.audit.timers import Timers
from shared.keys import encode_public
from shared.record import encode
from shared.record.chain import RECORD_AT, chain
from shared.record.model import CLOSED, COMPLETION, GAP, MAX_RECORD, OPENED, RECOVERED

log = structlog.get_logger("shared.audit")

Make = Callable[[int, int], bytes]
"""Spells a record, canonically, given its number and the time in microseconds since the epoch."""
Tell = Callable[[str | None], None]
"""Called on the loop: None once a record is on the disk, else why it is not."""

LOCK_FILE = "lock"
LATE_SECONDS = 0.02
RETRY_SECONDS = 0.5
CHECKPOINT_SECONDS = 10.0
SYNC_SECONDS = 1.0
"""What nobody waits for is on the disk after so long all the same."""
MAX_OWED = 64 * 1024 * 1024
"""Bytes of lines that wait for a disk; what comes beyond is counted, and that is a record."""
LINE_BYTES = RECORD_AT + len(b"}\n")
"""What a line has beside its record."""
_GROW = 256  # hashes that are taken into the tree at once: a twentieth of a millisecond
MAX_UNSYNCED = 256 * 1024 * 1024
"""Bytes that a disk may take without saying that it has them; then it counts as failing."""


class AuditLog:
    """A log that is open for writing; `origin` names it in its checkpoints.

    `key`: the file of the key that signs them, when it is not in the folder.
    """

    def __init__(
        self,
        folder: Path,
        origin: str,
        *,
        segment_bytes: int = 64 * 1024 * 1024,
        segment_seconds: float = 86400.0,
        key: Path | None = None,
    ) -> None:
        """Take the folder, made if it is missing, and read its end; raises AuditError.

        Calls that a killed writer left open are ended with the first records.
        """
        self.folder = folder
        self.origin = origin
        self._segment_bytes = segment_bytes
        self._segment_seconds = segment_seconds
        self._loop = asyncio.get_running_loop()
        self._lock = lock_folder(folder, LOCK_FILE)
        try:
            signer, found, self._disk = open_folder(folder, origin, key)
        except BaseException:
            os.close(self._lock)
            raise
        self.public = signer.public
        self._hash = self._written_hash = found.hash
        self.size = found.tree.size
        """How many records there are, those in memory included: the number of the next one."""
        self._first = self.size if found.segment is None else found.segment.first
        self._born = time.time() if found.born is None else found.born / 1e6
        self._queue: list[bytes] = []
        """Records that are in no chain yet: many at once cost half of what each alone does."""
        self._lines: list[bytes] = []
        self._leaves: list[bytes] = []
        """Hashes that are not in the tree yet; those of `_lines` are its last ones."""
        self._tree = found.tree
        self.written = self.size
        """Records below this number are in the file."""
        self.synced = self.size
        """Records below this number are on the disk."""
        self._owed = self._lost = self._refused = 0
        self._waiting: list[tuple[int, Tell]] = []
        self._armed = self._late = self._closed = False
        self.failing: str | None = None
        """Why nothing can be written; None while something can."""
        self._failing_since = self._look_at = 0
        self.removing = asyncio.Lock()  # held by who removes old records: `shared.audit.retention`
        self._timers, self._syncing = Timers(self._loop), Syncing(folder, self._loop)
        self._signing = Signing(folder, origin, signer, self.size, found.open_calls)
        self._begin(found)

    def _begin(self, found: Found) -> None:
        """Write down who begins, and end what the writer before left behind."""
        self._signing.compress(found.unsettled)
        facts = {"key": encode_public(self.public), "origin": self.origin}
        if found.unproven is not None:  # from now on it will be signed, whoever wrote it
            facts["unproven"] = found.unproven
        if found.segment is not None and not found.clean:
            lost = {"open": len(found.open_calls), "torn": found.torn}
            self.add(RECOVERED, lost)
        for call, intent in found.open_calls.items():
            self.add(COMPLETION, ended_by_restart(call, intent))
        self.add(OPENED, facts)

    # What callers do ----------------------------------------------------------------------------

    def add(self, kind: str, facts: Mapping[str, Any]) -> int:
        """Queue a record; it is written when this turn of the loop is over. Returns its number."""
        return self.take(encode.event(kind, facts, self.size, time.time_ns() // 1000))

    def take(self, record: bytes) -> int:
        """Queue a record that says the number `size` of itself; returns that number."""
        seq = self.size
        if self._owed > MAX_OWED or self._closed:
            self._lost += 1
            return seq
        self._append(record)
        if not self._armed:
            self._armed = True
            self._loop.call_soon(self._turn_end)
        return seq

    def take_late(self, record: bytes) -> int:
        """Queue a record as `take` does, that may wait for a `flush`, or for a moment.

        For ends of calls: a killed process may lose it, and the next start says so.
        """
        seq = self.size
        if self._owed > MAX_OWED or self._closed:
            self._lost += 1
            return seq
        self._queue.append(record)
        self._owed += len(record) + LINE_BYTES
        self.size = seq + 1
        if not (self._armed or self._late):
            self._late = True
            self._timers.later("late", LATE_SECONDS, self._turn_end)
        return seq

    def flush(self) -> str | None:
        """Write what is queued, now; returns why that is not possible. What is not is owed."""
        if self.failing is None and self._flush():
            return None  # also where the disk takes no more after this
        return self.failing

    def write(self, make: Make) -> int:
        """Write a record, and all that is queued, now; raises AuditError, and then it is not."""
        if self.failing is not None:
            self._refused += 1
            raise AuditError(self.failing)
        try:
            return self._write(make)
        except AuditError:
            self._refused += 1
            raise

    def count_refused(self) -> None:
        """Have the record of a gap say that something was refused for want of the log."""
        self._refused += 1

    def durable(self, seq: int, tell: Tell) -> None:
        """Have `tell` called once the record of this number is on the disk, or cannot be.

        It may be called before this returns.
        """
        if seq < self.synced or self.failing is not None or self._closed:
            tell(None if seq < self.synced else self.failing or "the log is closed")
            return
        self._waiting.append((seq, tell))
        if seq >= self.written:
            self.flush()  # of this turn: else it would wait for the next timer
        self._sync()

    def checkpoint(self) -> str | None:
        """Return the newest signed checkpoint; what it vouches for is on the disk."""
        return self._signing.newest

    def close(self, kind: str = CLOSED, **facts: Any) -> str | None:
        """Write what is left, and this as the last record; sign it all. Blocks for an fsync.

        Returns why that was not possible. Nothing can be added after.
        """
        if self._closed:
            return self.failing
        self._append(encode.event(kind, facts, self.size, time.time_ns() // 1000))
        self._closed = True
        self._timers.stop()
        self._syncing.finish()
        self._signing.now = True
        if self._flush():
            try:
                self._grow()
                self._signing.capture(self._tree)
                self._syncing.here(self._disk)
                self._durable(self.written)
            except OSError as error:
                self._fail(error)
        count = self.size - self.written + self._lost
        if count:
            log.error("records could not be written", count=count, why=self.failing)
        self._tell()
        self._signing.close()
        self._syncing.close()
        if self._disk is not None:
            self._disk.close()
        os.close(self._lock)
        return self.failing

    # Writing ------------------------------------------------------------------------------------

    def _append(self, record: bytes) -> None:
        self._queue.append(record)
        self._owed += len(record) + LINE_BYTES
        self.size += 1

    def _chain(self) -> None:
        """Make lines of what is queued."""
        if self._owed > MAX_RECORD:  # one of them may be
            self._owed -= encode.shorten(self._queue, self.size, time.time_ns() // 1000)
        self._hash = chain(self._hash, self._queue, self._lines.append, self._leaves.append)
        self._queue.clear()

    def _write(self, make: Make) -> int:
        seq = self.size
        self._append(make(seq, time.time_ns() // 1000))
        if self._flush():
            return seq
        # Nobody acts on it, so it must not turn up later; what was queued before it is owed.
        self._owed -= len(self._lines.pop())
        self._leaves.pop()
        self._hash, self.size = self._leaves[-1] if self._lines else self._written_hash, seq
        raise AuditError(self.failing or "nothing can be written")

    def _turn_end(self) -> None:
        self._armed = self._late = False
        if self.failing is None and not self._closed:
            self._flush()

    def _flush(self) -> bool:
        """Write every line that waits; False when the disk does not take them."""
        if self._queue:
            self._chain()
        if not self._lines:
            return self.failing is None
        data = b"".join(self._lines)
        try:
            disk = self._disk_for_more()
            disk.write(data)
        except OSError as error:
            self._fail(error)
            return False
        self._lines.clear()
        self._owed = 0
        self.written = self.size
        self._written_hash = self._hash
        if self.written >= self._look_at or self._timers.went_off or self.failing is not None:
            self._look_after(disk)
        return True

    def _look_after(self, disk: Disk) -> None:
        """See to what need not be looked at every turn: the timers do, up to `_look_at`."""
        if self.written - self._tree.size >= _GROW:
            self._grow()
        if self.failing is not None:
            log.warning("the log can be written again", folder=str(self.folder))
            self.failing = None
        if self._syncing.unsynced(disk) > MAX_UNSYNCED:
            self._fail(OSError(errno.EBUSY, "the disk does not keep up"))
        elif self._syncing.behind or self._signing.is_due(self.written):
            self._sync()
        else:
            self._timers.later("sync", SYNC_SECONDS, self._sync)
            self._timers.later("sign", CHECKPOINT_SECONDS, self._sign)
            self._timers.went_off, self._look_at = False, self.written + _GROW

    def _disk_for_more(self) -> Disk:
        """Return the segment to write to: the last one, or a new one when it is full and safe."""
        disk = self._disk
        if disk is not None:
            old = time.time() - self._born > self._segment_seconds
            if not disk.offset or not (old or disk.offset >= self._segment_bytes):
                return disk
            if not self._syncing.leave(disk, self.written, self.synced):
                self._look_at = 0
                return disk
            self._grow()
            self._signing.border(self._first, self._tree, self._written_hash)
            self._disk = None
        self._look_at = 0
        self._disk = Disk(self.folder / segment_name(self.written))
        self._first, self._born = self.written, time.time()
        self._syncing.named()
        return self._disk

    def _grow(self) -> None:
        """Take the hashes of what was written into the tree."""
        new = self.written - self._tree.size
        self._tree.extend(self._leaves[:new])
        del self._leaves[:new]

    # The disk -----------------------------------------------------------------------------------

    def _sign(self) -> None:
        self._signing.now = True
        self._sync()

    def _sync(self) -> None:
        """Have a thread wait for the disk, once for all who wait."""
        if self._syncing.busy or self._closed or self.failing is not None:
            return
        due = self._signing.is_due(self.written)
        if self.synced == self.written and not due and not self._syncing.behind:
            return
        self._grow()
        self._signing.capture(self._tree)
        size = self.written
        self._syncing.start(self._disk, lambda error: self._sync_done(size, error))

    def _sync_done(self, size: int, error: OSError | None) -> None:
        if error is None:
            self._durable(size)
        else:
            self._fail(error)
        self._tell()
        if self._waiting or self._signing.is_due(self.written):
            self._sync()

    def _durable(self, size: int) -> None:
        self.synced = max(self.synced, size)
        try:
            self._signing.durable(size)
        except OSError as error:
            self._fail(error)

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for seq, tell in waiting:
            if seq < self.synced:
                tell(None)
            elif self.failing is not None or self._closed:
                tell(self.failing or "the log is closed")
            else:
                self._waiting.append((seq, tell))

    def _fail(self, error: OSError) -> None:
        why = error.strerror or str(error)
        if self.failing is None:
            log.error("the log cannot be written", folder=str(self.folder), why=why)
            self._failing_since = time.time_ns() // 1000
        self.failing = why
        self._loop.call_soon(self._tell)
        self._timers.later("retry", RETRY_SECONDS, self._retry)

    def _retry(self) -> None:
        """See whether the disk takes what is owed, from the last byte that it surely has."""
        if self._closed or self.failing is None:
            return
        if self._syncing.busy:
            self._timers.later("retry", RETRY_SECONDS, self._retry)
            return
        self._syncing.repair(self._disk, self._repaired)

    def _repaired(self, error: OSError | None) -> None:
        if error is None:
            self._durable(self.written)
        else:
            self._fail(error)
        if self._closed or error is not None or self._timers.is_set("retry"):
            return
        facts = {
            "began": self._failing_since,
            "ended": time.time_ns() // 1000,
            "lost": self._lost,
            "refused": self._refused,
            "why": self.failing,
        }
        with contextlib.suppress(AuditError):
            self._write(lambda seq, now: encode.event(GAP, facts, seq, now))
            self._lost = self._refused = 0
