"""Where a log goes on after whatever happened to its last writer.

Only what comes after the last segment whose end is kept is read. What a killed process or machine
left half written at the very end was never acted on: it is cut off. Anything else that does not
follow is no accident, and nothing is written behind it.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from shared.audit.disk import Disk
from shared.audit.ends import End, begun, note_calls, read_end, write_end
from shared.audit.keys import read_or_make_key
from shared.audit.notes import cut_torn, last_note
from shared.audit.private import AuditError
from shared.audit.segments import Segment, born, clear_drafts, lines, segments
from shared.audit.tombstones import kept
from shared.keys import PrivateKey
from shared.record.chain import RECORD_AT, START, BadLineError, link, split
from shared.record.checkpoint import Checkpoint, CheckpointError, read_note, sign
from shared.record.model import CHANGED, CLOSED, Delivery, RecordError, Result, parse
from shared.record.tree import Tree
from shared.record.unsigned import Unsigned
from shared.record.verify import Start

log = structlog.get_logger("shared.audit")

_BATCH = 4096
_GONE = tuple(b'"kind":"%b"' % kind.encode() for kind in (CLOSED, CHANGED))


@dataclass(slots=True)
class Found:
    """Where a log ends: what the next record follows, and what was left behind."""

    hash: bytes = START
    tree: Tree = field(default_factory=Tree)
    segment: Segment | None = None
    """The one to go on with."""
    offset: int = 0
    born: int | None = None
    torn: int = 0
    """Bytes behind the last whole record; whoever writes next cuts them off."""
    clean: bool = True
    """Did the last writer say that it gave the log back?"""
    signed: int = 0
    """Records below this number have a checkpoint that vouches for them."""
    unsigned: Unsigned = field(default_factory=Unsigned)
    """Looks at the others."""
    unproven: str | None = None
    """Why those must have been signed by now."""
    open_calls: dict[str, int] = field(default_factory=dict)
    """Intents without an end, by call."""
    unsettled: list[Segment] = field(default_factory=list)
    """Closed segments that are not compressed."""


def open_folder(
    folder: Path, origin: str, key: Path | None
) -> tuple[PrivateKey, Found, Disk | None]:
    """Return the key of a log, where it ends, and the segment to go on with; raises AuditError."""
    try:
        signer = read_or_make_key(folder, key, fresh=not segments(folder))
        clear_drafts(folder)
        found = read_back(folder, origin, signer)
        segment = found.segment
        return signer, found, None if segment is None else Disk(segment.path, found.offset)
    except OSError as error:
        raise AuditError(f"cannot use {folder}: {error.strerror}") from None


def read_back(folder: Path, origin: str, key: PrivateKey) -> Found:
    """Follow a log to its end; raises AuditError where it is broken but for a torn tail.

    A checkpoint is written when its records are on the disk, never before: what one vouches for
    was not torn by a fault of power, and is missed.
    """
    cut_torn(folder)
    start, parts = kept(folder)
    found = Found(unsettled=[each for each in parts[:-1] if not each.compressed])
    newest = _newest(folder, key.public)
    if not parts:
        _compare(folder, newest, found)
        return found
    begin, at = _begin(folder, parts, start, key.public)
    found.signed = max(begin.start.size, 0 if newest is None else newest.size)
    found.hash, found.tree = begin.start.hash, Tree(begin.start.size, begin.start.edge)
    found.open_calls = dict(begin.open_calls)
    for number, segment in enumerate(parts[at:], at):
        if segment.first != found.tree.size:
            raise AuditError(f"{segment.path} does not follow record {found.tree.size - 1}")
        last = number + 1 == len(parts)
        _follow(segment, found, last=last)
        if not last:
            point = Checkpoint(origin, found.tree.size, found.tree.root())
            start = Start(found.tree.size, found.hash, found.tree.edge)
            write_end(folder, segment.first, End(start, sign(point, key), found.open_calls))
    found.open_calls = begun(parts, found.open_calls, begin.start.size)
    _compare(folder, newest, found)
    if newest is None and begin.start.size > 0:
        found.signed, found.unproven = 0, "what a segment was closed with is gone"
    else:
        found.unproven = found.unsigned.why
    _warn_of_unsigned(folder, found)
    if not parts[-1].compressed:
        found.segment, found.born = parts[-1], born(parts[-1].path)
    return found


def _begin(folder: Path, parts: list[Segment], start: Start, public: bytes) -> tuple[End, int]:
    """Return the newest end that can be believed, and the number of the segment behind it."""
    for at in range(len(parts) - 1, 0, -1):
        end = read_end(folder, parts[at - 1].first, public)
        if end is not None and end.start.size == parts[at].first:
            return end, at
    return End(start), 0


def _follow(segment: Segment, found: Found, *, last: bool) -> None:
    found.offset = 0
    held: list[bytes] = []
    leaves: list[bytes] = []
    made: bytes | None
    for line in lines(segment.path):
        made = _next(line, found.hash)
        if made is None:
            if not last or segment.compressed:
                seq = found.tree.size + len(leaves)
                raise AuditError(f"record {seq} of {segment.path} is not what was written")
            found.torn = segment.path.stat().st_size - found.offset
            break
        found.hash = made
        found.offset += len(line)
        leaves.append(made)
        held.append(line)
        if len(leaves) == _BATCH:
            _take(held, leaves, found)
    _take(held, leaves, found)


def _take(held: list[bytes], leaves: list[bytes], found: Found) -> None:
    if held:
        for line in held[max(0, found.signed - found.tree.size) :]:
            found.unsigned.see(line[RECORD_AT:-2])
        found.tree.extend(leaves)
        note_calls(held, found.open_calls)
        found.clean = _is_last(held[-1][RECORD_AT:-2])
        held.clear()
        leaves.clear()


def _is_last(record: bytes) -> bool:
    """Tell whether a record says that its writer gave the log back; one can quote that as well."""
    if not any(each in record for each in _GONE):
        return False
    try:
        return parse(record)["kind"] in (CLOSED, CHANGED)
    except RecordError:
        return False


def _next(line: bytes, before: bytes) -> bytes | None:
    try:
        made, record = split(line)
    except BadLineError:
        return None
    return made if link(before, record) == made else None


def _newest(folder: Path, public: bytes) -> Checkpoint | None:
    """Return the newest checkpoint, None when nothing is signed yet; raises AuditError."""
    note = last_note(folder)
    try:
        return None if note is None else read_note(note, public)
    except CheckpointError as error:
        raise AuditError(f"the newest checkpoint in {folder} cannot be used: {error}") from None


def _compare(folder: Path, point: Checkpoint | None, found: Found) -> None:
    """Hold what is there against the newest checkpoint; raises AuditError when it says more."""
    if point is None:
        return
    size = found.tree.size
    if point.size > size:
        raise AuditError(f"record {size} in {folder} is gone or changed: {point.size} were signed")
    if point.size == size and point.root != found.tree.root():
        raise AuditError(f"the records in {folder} are not those that were signed")


def _warn_of_unsigned(folder: Path, found: Found) -> None:
    """Say that records are about to be signed of which nothing shows that they are those written.

    It goes on all the same: a disk that was full leaves them as well.
    """
    if found.unproven is not None:
        log.error(
            "no checkpoint vouches for records that must have been signed by now",
            folder=str(folder),
            records=f"{found.signed} to {found.tree.size - 1}",
            why=found.unproven,
        )


def ended_by_restart(call: str, intent: int) -> dict[str, Any]:
    """Return what is said of a call whose writer did not live to say how it ended."""
    return {
        "call": call,
        "intent": intent,
        "closed_by": "restart",
        "result": Result.UNKNOWN.value,
        "delivery": Delivery.UNKNOWN.value,
        **dict.fromkeys(("bytes", "scrub_hits", "status", "us"), 0),
    }
