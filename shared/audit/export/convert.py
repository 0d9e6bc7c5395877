"""Spells the records of a folder in another format: offline, and nothing is remembered of it."""

import socket
from collections.abc import Iterator
from pathlib import Path

from shared.audit.export.exporter import LOOK_BACK
from shared.audit.export.reader import Reader
from shared.audit.notes import RELAY_ORIGIN, origin
from shared.record.export.formats import Formatter
from shared.record.export.joined import Origin
from shared.record.export.names import Format
from shared.version import VERSION

_MOST = 500


def origin_of(folder: Path) -> Origin:
    """Return whose log a folder holds, as its checkpoints say; none of them is verified here."""
    name = origin(folder) or "unknown"
    program = "tunnel-relay" if name.startswith(RELAY_ORIGIN) else "tunnel-client"
    return Origin(program, name, VERSION, socket.gethostname())


def converted(folder: Path, spelling: Format, first: int, last: int | None) -> Iterator[bytes]:
    """Yield records `first` to `last`, a line each without its end; raises AuditError.

    Records before `first` are looked at for the intents of calls that end after it.
    """
    formatter = Formatter(spelling, origin_of(folder))
    end = 1 << 62 if last is None else last + 1
    at = max(0, first - LOOK_BACK) if formatter.joins else first
    reader = Reader(folder)
    try:
        while (batch := reader.read(at, end, _MOST)).lines:
            if batch.first > max(at, first):
                yield formatter.missing(max(at, first), batch.first - 1, 0)
            for seq, line in enumerate(batch.lines, batch.first):
                spelled = formatter.line(seq, line)
                if seq >= first and spelled:
                    yield spelled
            at = batch.first + len(batch.lines)
    finally:
        reader.close()
