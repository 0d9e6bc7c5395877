"""One export: a thread that reads the log's files and sends what is new, for ever.

The files are the spool: what a sink does not take stays in the log, and nothing else waits for it.
A sink has each record at least once, in order; twice after a failure of which nobody knows how far
it got. A thread of Python holds up the others while it computes, so it does so in small pieces and
rests three times as long.
"""

import random
import re
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import structlog

from shared.audit.export.cursor import Cursor, cursor_path, read_cursor, write_cursor
from shared.audit.export.net import SinkError
from shared.audit.export.reader import Batch, Reader
from shared.audit.export.settings import ExportSettings
from shared.audit.export.sinks import Sink
from shared.audit.private import AuditError
from shared.backoff import Backoff
from shared.few import Few
from shared.record.chain import RECORD_AT
from shared.record.export.formats import Formatter

log = structlog.get_logger("shared.audit.export")

POLL = 0.2
"""Seconds between two looks for new records."""
MOST = 1000
PIECE = 20
"""Records that are spelled in one go: about a millisecond."""
REST = 3.0
LOOK_BACK = 100_000
"""Records that are read again at a start, for the intents of calls that are still open."""
PACE = Backoff(base=0.5, cap=30.0)
LOG_PERIOD = 60.0
_TIME = re.compile(rb'"time":(\d{1,18}),')
_BEGINS = len(b'{"hash":"')


class Spool(Protocol):
    """The log that is exported; its attributes are read from another thread."""

    folder: Any
    synced: int

    @property
    def size(self) -> int:
        """How many records there are."""


class Codes(NamedTuple):
    """How a program calls what an operator has to know."""

    failing: str
    gap: str


def halved(most: int, waiting: int) -> int:
    """Return how many records to send after `most` of those that wait; 0 when it was one alone."""
    return min(most, waiting) // 2


class Exporter:
    """Sends a log to one sink until it is stopped."""

    def __init__(
        self,
        export: ExportSettings,
        spool: Spool,
        sink: Sink,
        formatter: Formatter,
        codes: Codes,
        *,
        pace: Backoff = PACE,
    ) -> None:
        self.export = export
        self._spool = spool
        self._sink = sink
        self._formatter = formatter
        self._codes = codes
        self._pace = pace
        self._path = cursor_path(spool.folder, export.name)
        self._cursor = Cursor()
        """The thread reads it: one that cannot be read holds up this export and nobody else."""
        self._reader = Reader(spool.folder)
        self._most = MOST
        self._oldest = 0
        """Time of the oldest record that is known to wait, in microseconds; 0 for none."""
        self.problem: str | None = None
        """Why nothing goes out; None while it does."""
        self._waiting: list[bytes] = []
        """Spelled, and not taken yet."""
        self._after: Cursor | None = None
        """The place reached when they are."""
        self._few = Few(1, LOG_PERIOD)
        self._stop = threading.Event()
        self._ends: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"export-{export.name}", daemon=True)

    # From outside -------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def finish(self, within: float) -> None:
        """Let it send what is left, for so many seconds; to be followed by `stop`."""
        self._ends = time.monotonic() + within

    def stop(self, within: float = 2.0) -> None:
        """End it, when it has finished or its time is over."""
        if self._ends is not None and self.problem is None:
            self._thread.join(max(0.0, self._ends - time.monotonic()))
        self._stop.set()
        self._sink.abort()
        self._thread.join(within)

    def status(self) -> dict[str, Any]:
        """Return how far it is, for people and metrics."""
        behind = max(0, self._spool.size - self._cursor.next)
        oldest = self._oldest
        waited = max(0.0, time.time() - oldest / 1e6) if behind and oldest else 0.0
        return {
            "name": self.export.name,
            "format": self.export.spelling,
            "to": self.export.to,
            "next": self._cursor.next,
            "behind": behind,
            "seconds": round(waited, 3),
            "missed": self._cursor.missed,
            "problem": self.problem,
        }

    # The thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            # Without its place nothing goes out, nor is anything written over what says it.
            resumed = self._again(self._resume)
            while resumed and not self._stop.is_set():
                if not self._again(self._step):
                    if self._ends is not None:
                        break
                    self._stop.wait(POLL)
        finally:
            self._reader.close()
            self._sink.close()

    def _again(self, act: Callable[[], bool]) -> bool:
        """Do something until it succeeds; False when there was nothing to do, or no time."""
        failures = 0
        while not self._stop.is_set():
            try:
                done = act()
            except (SinkError, AuditError) as error:
                if isinstance(error, SinkError) and error.too_large and self._sends_fewer():
                    continue  # at once: only so often as a number can be halved
                failures += 1
                self._failed(str(error))
            except Exception as error:  # noqa: BLE001 - it says so and goes on: it must not end
                failures += 1
                self._failed(type(error).__name__)
            else:
                self._works()
                return done
            if self._ends is not None and time.monotonic() >= self._ends:
                break
            delay = self._pace.delay(failures, 0.5 + random.random() / 2)  # noqa: S311
            self._stop.wait(delay)
        return False

    def _resume(self) -> bool:
        """See that this is the log that was exported before, and learn what is open in it."""
        cursor = self._cursor = read_cursor(self._path)
        if not cursor.next:
            return True
        mark = self._reader.read(cursor.next - 1, self._spool.size, 1)
        begins = mark.lines[0][_BEGINS : _BEGINS + 64] if mark.lines else b""
        another = cursor.next > self._spool.size or (
            mark.first == cursor.next - 1 and begins != cursor.hash.encode()
        )
        if another:
            log.error(
                "export_begins_anew",
                code=self._codes.gap,
                export=self.export.name,
                why="this is not the log that was exported before",
            )
            self._cursor = Cursor(missed=cursor.missed)
            return True
        at = max(cursor.open, cursor.next - LOOK_BACK) if self._formatter.joins else cursor.next
        while at < cursor.next and not self._stop.is_set():
            batch = self._reader.read(at, cursor.next, PIECE)
            if not batch.lines:
                break
            self._spelled(batch)
            at = batch.first + len(batch.lines)
        return True

    def _step(self) -> bool:
        """Send one batch; False when there is nothing new. Raises SinkError and AuditError."""
        if self._after is None and not self._take():
            return False
        # What was spelled once is not spelled again: that would end calls twice.
        while self._waiting:
            part = self._waiting[: self._most]
            self._sink.send(part)
            del self._waiting[: len(part)]
            if self._stop.is_set():
                return False
        self._most = min(MOST, self._most * 2)
        if self._after is not None:
            self._cursor, self._after = self._after, None
        write_cursor(self._path, self._cursor)
        return True

    def _sends_fewer(self) -> bool:
        """Send fewer records at a time from now on; False when it was one alone."""
        fewer = halved(self._most, len(self._waiting))
        self._most = fewer or self._most
        return fewer > 0

    def _take(self) -> bool:
        """Read and spell what is new; False when there is nothing."""
        cursor = self._cursor
        batch = self._reader.read(cursor.next, self._spool.synced, MOST)
        if not batch.lines:
            self._oldest = 0
            return False
        timed = _TIME.search(batch.lines[0], RECORD_AT)
        self._oldest = int(timed[1]) if timed is not None else 0
        # Whatever was spelled before and not sent: totals are of what the cursor is behind.
        self._formatter.go_on_from(cursor.totals)
        lines = self._spelled(batch)
        missed = batch.first - cursor.next
        if missed:
            gone = (cursor.next, batch.first - 1)
            lines.insert(0, self._formatter.missing(*gone, time.time_ns() // 1000))
            facts = {"export": self.export.name, "missing": gone}
            log.error("export_gap", code=self._codes.gap, **facts)
        self._waiting = [line for line in lines if line]
        after, first_open = batch.first + len(batch.lines), self._formatter.first_open
        self._after = Cursor(
            after,
            batch.lines[-1][_BEGINS : _BEGINS + 64].decode("ascii", "replace"),
            after if first_open is None else first_open,
            cursor.missed + missed,
            self._formatter.totals,
        )
        return True

    def _spelled(self, batch: Batch) -> list[bytes]:
        """Spell lines, a few at a time."""
        found: list[bytes] = []
        for start in range(0, len(batch.lines), PIECE):
            began = time.perf_counter()
            for at, line in enumerate(batch.lines[start : start + PIECE], batch.first + start):
                found.append(self._formatter.line(at, line))
            self._stop.wait((time.perf_counter() - began) * REST)
        return found

    def _failed(self, why: str) -> None:
        self.problem = why
        left_out = self._few.take(time.monotonic())
        if left_out is not None and not self._stop.is_set():
            facts = {"export": self.export.name, "why": why}
            log.error("export_failing", code=self._codes.failing, **facts)

    def _works(self) -> None:
        if self.problem is not None:
            self.problem = None
            log.warning("export_works_again", export=self.export.name)
