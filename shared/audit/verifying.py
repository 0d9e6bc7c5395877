"""Verifies a log in a folder, from its files and a public key alone."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from shared.audit.notes import read_points, read_text
from shared.audit.private import AuditError
from shared.audit.segments import Segment, lines
from shared.audit.tombstones import kept
from shared.record.checkpoint import notes_of
from shared.record.verify import Report, verify

_UNREADABLE = b"unreadable\n"


def verify_folder(
    folder: Path, public: bytes, exported: Sequence[str] = (), *, cross: bool = True
) -> Report:
    """Look at a whole log; raises AuditError when there is none to look at.

    `exported`: checkpoints that were kept elsewhere. One that this key did not sign is a fault.
    """
    start, parts = kept(folder)
    points, fault = read_points(notes_of(read_text(folder)), public)
    outside, other = read_points(exported, public)
    if not parts and not points and not outside:
        raise AuditError(f"no log in {folder}")
    report = verify(_all(parts), points, start, exported=outside, cross=cross)
    if report.first_bad is None and (fault or other):
        report.first_bad, report.reason = report.signed, fault or other
    return report


def _all(parts: list[Segment]) -> Iterator[bytes]:
    for at, segment in enumerate(parts, 1):
        try:
            for line in lines(segment.path):
                # Half a line within a log is no torn end: what follows it is there.
                torn = not line.endswith(b"\n") and at < len(parts)
                yield line + b"\n" if torn else line
        except AuditError:
            yield _UNREADABLE
