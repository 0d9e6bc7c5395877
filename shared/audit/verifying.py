"""Verifies a log in a folder, from its files and a public key alone."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from shared.audit.notes import read_points, read_text
from shared.audit.private import AuditError, ForbiddenError
from shared.audit.segments import Segment, lines
from shared.audit.tombstones import kept, read_start
from shared.escape import one_line
from shared.record.checkpoint import Checkpoint, CheckpointError, notes_of, parse, read_note
from shared.record.verify import Report, verify

MAX_NAMED = 3
"""Names of a log that are told: it has more than one when its program was renamed."""
MAX_LOOKS = 3
"""Times that a log is looked at from which records are removed meanwhile."""
_UNREADABLE = b"unreadable\n"


class ForeignCheckpointError(AuditError):
    """A checkpoint that was given is of another log, so nothing was verified."""


def verify_folder(
    folder: Path, public: bytes, exported: Sequence[str] = (), *, cross: bool = True
) -> Report:
    """Look at a whole log; raises AuditError when there is none to look at, or it is forbidden.

    `exported`: checkpoints that were kept elsewhere. One that this key did not sign is a fault,
    but for those of another log: they raise ForeignCheckpointError.
    """
    for _ in range(MAX_LOOKS):
        report = _looked(folder, public, exported, cross)
        # Removed while it was looked at, what was listed is gone: the rest begins elsewhere now.
        if report.fault is None or read_start(folder).size == report.removed:
            return report
    raise AuditError(f"records in {folder} were removed while it was looked at; try again later")


def _looked(folder: Path, public: bytes, exported: Sequence[str], cross: bool) -> Report:
    # In this order: what a checkpoint vouches for is in files that are listed after it was read.
    text = read_text(folder)
    start, parts = kept(folder)
    room = _size(parts)
    points, fault = read_points(notes_of(text), public)
    outside, other = _kept_elsewhere(exported, public, text)
    if not parts and not points and not outside:
        raise AuditError(f"no log in {folder}")
    source = _Lines(parts, start.size, room)
    report = verify(source, points, start, exported=outside, cross=cross)
    if source.strange is not None and report.first_bad == source.next:
        report.reason = source.strange
    if report.first_bad is None and (fault or other):
        report.first_bad, report.reason = report.signed, fault or other
    return report


def _size(parts: list[Segment]) -> int:
    """Return how many bytes of the last segment are looked at.

    What a writer adds meanwhile has no checkpoint among those that were read, and of a large log it
    can be what is written in minutes.
    """
    if parts and not parts[-1].compressed:
        with contextlib.suppress(FileNotFoundError):  # compressed since: nothing is added any more
            return parts[-1].path.stat().st_size
    return sys.maxsize


def _kept_elsewhere(
    notes: Sequence[str], public: bytes, beside: str
) -> tuple[list[Checkpoint], str | None]:
    """Return what was signed; the second is why a note is a fault of the log (A06)."""
    points, strange, fault = [], set(), None
    for note in notes:
        try:
            points.append(read_note(note, public))
        except CheckpointError as error:
            strange.add(_origin(note))
            fault = fault or str(error)
    if not strange:
        return points, None
    names = {_origin(note) for note in notes_of(beside)} - {None}
    # Of a log that does not say its name nothing is known: then each of them is told.
    if strange & names or not names or None in strange:
        return points, fault
    foreign, own = (_listed(each) for each in (strange, names))
    raise ForeignCheckpointError(f"a checkpoint of {foreign}, and this log is {own}")


def _origin(note: str) -> str | None:
    try:
        return parse(note)[0].origin
    except CheckpointError:
        return None


def _listed(names: set[str | None]) -> str:
    return ", ".join(one_line(str(each)) for each in sorted(map(str, names))[:MAX_NAMED])


class _Lines:
    """The lines of a log; one that is none stands for a segment that cannot be read, or is odd."""

    def __init__(self, parts: list[Segment], first: int, room: int) -> None:
        self._parts = parts
        self._room = room
        self.next = first
        """Number of the record that the next line should be."""
        self.strange: str | None = None
        """What is wrong with a segment's name."""

    def __iter__(self) -> Iterator[bytes]:
        for segment in self._parts:
            # By its name it is found: with a wrong one, its records are there for nobody.
            if segment.first != self.next:
                name = segment.path.name
                self.strange = f"the next segment, {name}, does not begin with it by its name"
                yield _UNREADABLE
                return
            try:
                yield from self._of(segment, last=segment is self._parts[-1])
            except ForbiddenError:
                raise
            except AuditError:
                yield _UNREADABLE
                return

    def _of(self, segment: Segment, *, last: bool) -> Iterator[bytes]:
        for line in lines(segment.path):
            if last:
                if self._room <= 0:
                    return
                self._room -= len(line)
            self.next += 1
            # Half a line within a log is no torn end: what follows it is there.
            yield line + b"\n" if not last and not line.endswith(b"\n") else line
