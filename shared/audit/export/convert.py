"""Spells the records of a folder in another format: offline, and nothing is remembered of it."""

import socket
from collections.abc import Iterator
from pathlib import Path

from shared.audit.export.exporter import LOOK_BACK
from shared.audit.export.reader import Batch, Reader
from shared.audit.notes import RELAY_ORIGIN, origin
from shared.audit.private import AuditError
from shared.audit.segments import segments
from shared.audit.tombstones import read_start
from shared.record.chain import BadLineError, split
from shared.record.export.formats import Formatter
from shared.record.export.joined import Origin
from shared.record.export.names import Format
from shared.record.model import RecordError, parse
from shared.version import VERSION

_MOST = 500


def origin_of(folder: Path) -> Origin:
    """Return whose log a folder holds, as its checkpoints say; none of them is verified here."""
    name = origin(folder) or "unknown"
    program = "tunnel-relay" if name.startswith(RELAY_ORIGIN) else "tunnel-client"
    return Origin(program, name, VERSION, socket.gethostname())


def converted(folder: Path, spelling: Format, first: int, last: int | None) -> Iterator[bytes]:
    """Yield records `first` to `last`, a line each without its end; raises AuditError.

    Records before `first` are looked at for the intents of calls that end after it. Where the log
    goes on and the next record is not there, it ends with an error: that was not all.
    """
    formatter = Formatter(spelling, origin_of(folder))
    end = 1 << 62 if last is None else last + 1
    at = max(0, first - LOOK_BACK) if formatter.joins else first
    reader = Reader(folder)
    try:
        while True:
            batch = _next(reader, folder, at, end)
            asked, left = max(at, first), min(batch.first, end)
            # The tombstone comes before segments go: it speaks of all that two people removed.
            if asked < left and batch.first > (start := read_start(folder).size):
                raise _gone(max(asked, start))
            if asked < left and (said := formatter.missing(asked, left - 1, 0)):
                yield said
            if not batch.lines:
                return
            for seq, line in enumerate(batch.lines, batch.first):
                spelled = formatter.line(seq, line)
                if seq >= first and spelled:
                    yield spelled
            at = batch.first + len(batch.lines)
    finally:
        reader.close()


def _next(reader: Reader, folder: Path, at: int, end: int) -> Batch:
    """Return the lines from a record on, or from where the log begins now; raises AuditError."""
    batch = reader.read(at, end, _MOST)
    if not batch.lines and batch.first < end and _goes_on(folder, at):
        # What is before a segment was there when that one was: it is read now, or never.
        batch = reader.read(at, end, _MOST)
        if not batch.lines and batch.first == at:
            raise _gone(at)
    if batch.lines and _is_another(batch.lines[0], batch.first):
        raise _gone(batch.first)
    return batch


def _goes_on(folder: Path, at: int) -> bool:
    return any(each.first > at for each in segments(folder))


def _is_another(line: bytes, seq: int) -> bool:
    """Tell whether a line is a record of another number; one that is none is spelled as that."""
    try:
        return bool(parse(split(line)[1])["seq"] != seq)
    except (BadLineError, RecordError):
        return False


def _gone(seq: int) -> AuditError:
    return AuditError(f"record {seq} is not where it should be: see what `audit verify` says")
