"""Says whether a log is what was written, from its files and a public key alone.

Every record follows the one before, and what checkpoints signed is what is there. What is cut off
at the end shows against a checkpoint that was kept elsewhere, or that lies beside the log.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jiter

from shared.audit.chain import (
    START,
    BadLineError,
    Checkpoint,
    Tree,
    link,
    read_note,
    read_notes,
    split,
)
from shared.audit.files import CHECKPOINTS, lines, segments
from shared.audit.private import AuditError


@dataclass(slots=True)
class Report:
    """What became of it; `first_bad` is the number of the first record that cannot be believed."""

    records: int = 0
    signed: int = 0
    """How many records a checkpoint vouches for; those after the newest have only the chain."""
    checkpoints: int = 0
    open_calls: int = 0
    first_bad: int | None = None
    problem: str | None = None
    torn: bool = False
    """Does the file end in a half line, as one does whose writer was killed?"""
    ok: bool = field(default=False)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


class _BadError(Exception):
    def __init__(self, first_bad: int, problem: str) -> None:
        super().__init__(problem)
        self.first_bad = first_bad


def verify(folder: Path, public: bytes, exported: str | None = None) -> Report:
    """Look at a whole log; raises AuditError when there is none to look at."""
    parts = segments(folder)
    if not parts:
        raise AuditError(f"no log in {folder}")
    report = Report()
    try:
        points = _points(folder, public, exported)
        report.checkpoints = len(points)
        _follow(parts, points, report)
    except _BadError as bad:
        report.first_bad, report.problem = bad.first_bad, str(bad)
    report.ok = report.problem is None
    return report


def _points(folder: Path, public: bytes, exported: str | None) -> dict[int, list[Checkpoint]]:
    """Return what was signed, by size; a note that this key did not sign is a fault."""
    path = folder / CHECKPOINTS
    try:
        text = path.read_text() if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise AuditError(f"cannot read {path}: {type(error).__name__}") from None
    points: dict[int, list[Checkpoint]] = {}
    for note in [*read_notes(text), *([] if exported is None else [exported])]:
        try:
            point = read_note(note, public)
        except BadLineError as error:
            raise _BadError(max(points, default=0), str(error)) from None
        points.setdefault(point.size, []).append(point)
    return points


def _follow(
    parts: list[tuple[int, Path]], points: dict[int, list[Checkpoint]], report: Report
) -> None:
    tree, before, open_calls = Tree(), START, set[str]()
    for at, (first, path) in enumerate(parts):
        if first != tree.size:
            raise _BadError(tree.size, f"records {tree.size} to {first - 1} are missing")
        for line in lines(path):
            try:
                found, record = split(line)
            except BadLineError:
                if at + 1 == len(parts) and not line.endswith(b"\n"):
                    report.torn = True
                    break
                raise _BadError(tree.size, "not a line of a log") from None
            if link(before, record) != found:
                raise _BadError(tree.size, "its hash does not follow from what is there")
            _note(record, tree.size, open_calls)
            before = found
            tree.add(found)
            report.records = tree.size
            for point in points.get(tree.size, ()):
                _compare(point, tree, report)
    report.open_calls = len(open_calls)
    largest = max(points, default=0)
    if largest > tree.size:
        raise _BadError(tree.size, f"a checkpoint speaks of {largest} records: the end is gone")


def _note(record: bytes, number: int, open_calls: set[str]) -> None:
    try:
        facts = jiter.from_json(record, catch_duplicate_keys=True)
        kind, seq = facts["kind"], facts["seq"]
    except (ValueError, KeyError, TypeError):
        raise _BadError(number, "no record") from None
    if seq != number:
        raise _BadError(number, f"it says that it is number {seq}")
    if kind == "call.intent":
        open_calls.add(facts["call"])
    elif kind == "call.completion":
        open_calls.discard(facts["call"])


def _compare(point: Checkpoint, tree: Tree, report: Report) -> None:
    if point.root != tree.root():
        why = f"a checkpoint of {point.size} records was signed over other ones"
        raise _BadError(report.signed, why)
    report.signed = point.size
