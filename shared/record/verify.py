"""Says whether a log is what was written; pure, over its lines and signed checkpoints.

Two passes beside each other. The chain (every record follows the one before), the tree (checkpoints
signed what is there) and the numbers cost about 3 us a record. What is said of calls and approvals
needs each record parsed, and can be left out (`cross=False`).

What each can name: an edit, a missing, an added or an exchanged record is found at the first one
that does not follow. Records that were written anew with all hashes recomputed follow each other:
only a checkpoint shows it, and the first bad record is then the first that none vouches for.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple

from shared.record.chain import RECORD_AT, START, BadLineError, split
from shared.record.checkpoint import Checkpoint
from shared.record.crosscheck import Calls, Finding
from shared.record.model import MAX_RECORD, TOMBSTONE, RecordError, parse
from shared.record.repeats import COMPLETION, Intents
from shared.record.tree import Tree, TreeError
from shared.record.unsigned import Unsigned

_BATCH = 4096


class BadRecordError(ValueError):
    """The first record that cannot be believed, and why."""

    def __init__(self, seq: int, reason: str) -> None:
        super().__init__(reason)
        self.seq = seq


@dataclass(frozen=True, slots=True)
class Start:
    """Where a log goes on whose first records were removed: what a tombstone says."""

    size: int = 0
    hash: bytes = START
    edge: tuple[bytes, ...] = ()


class Fault(NamedTuple):
    """The first record that shows that a log is not what was written, and how."""

    seq: int
    why: str

    def __str__(self) -> str:
        return f"record {self.seq}: {self.why}"


@dataclass(slots=True)
class Report:
    """What became of it; `first_bad` is the number of the first record that cannot be believed."""

    records: int = 0
    """Number behind the last record that follows."""
    removed: int = 0
    """Records that retention removed, with a tombstone."""
    removed_by: list[str] = field(default_factory=list)
    """Who wanted that, as the tombstone says."""
    signed: int = 0
    """Records below this number have a checkpoint that vouches for them; others only the chain."""
    checkpoints: int = 0
    """Checkpoints of records that are there; those of removed ones say nothing of the rest."""
    unchecked: int | None = None
    """Size of a checkpoint that was kept elsewhere and speaks of removed records only."""
    overdue: str | None = None
    """Why the records that no checkpoint vouches for must have been signed by now."""
    first_bad: int | None = None
    reason: str | None = None
    torn: bool = False
    """Does it end in half a line, as one does whose writer was killed?"""
    open_intents: dict[str, int] = field(default_factory=dict)
    """Calls without an end, and their intents: under way, or of a writer that was killed."""
    findings: list[Finding] = field(default_factory=list)
    """What is said of calls and approvals and does not fit together."""
    crossed: bool = False

    @property
    def ok(self) -> bool:
        """Is it what was written, as far as can be told?"""
        return self.fault is None and self.unproven is None

    @property
    def unproven(self) -> str | None:
        """What keeps it from being believed, though nothing in it is wrong."""
        if self.unchecked is not None:
            why = f"the checkpoint of {self.unchecked} cannot be checked"
            return f"{why}: records below {self.removed} were removed"
        if self.overdue is None:
            return None
        where = f"records {max(self.signed, self.removed)} to {self.records - 1}"
        why = "which must have been signed by now"
        return f"no checkpoint vouches for {where}, {why}: {self.overdue}"

    @property
    def fault(self) -> Fault | None:
        """What is wrong with it; where no record is bad, the first that does not fit with others.

        The names in it are those of the log: escape them before people see them.
        """
        if self.first_bad is not None:
            return Fault(self.first_bad, str(self.reason))
        odd = (each for each in self.findings if each.grave)
        first = min(odd, key=lambda each: each.seq, default=None)
        return None if first is None else Fault(first.seq, f"{first.kind}: {first.name}")

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "ok": self.ok,
            "fault": None if self.fault is None else str(self.fault),
            **{name: getattr(self, name) for name in _PLAIN},
            "open_intents": self.open_intents,
            "findings": [each.as_dict() for each in self.findings],
        }


_PLAIN = (
    *("records", "removed", "removed_by", "signed", "checkpoints", "unchecked"),
    *("unproven", "first_bad", "reason", "torn", "crossed"),
)


def verify(
    lines: Iterable[bytes],
    points: Iterable[Checkpoint],
    start: Start | None = None,
    *,
    exported: Iterable[Checkpoint] = (),
    cross: bool = True,
) -> Report:
    """Look at a whole log; total for any bytes.

    `points`: what lies beside the log, `exported`: what was kept elsewhere; signatures of both were
    verified. `start`: where the tombstone says that it goes on.
    """
    begin = start or Start()
    outside = list(exported)
    # Whoever has the key can write a tombstone too; nothing that is left vouches for what it hides.
    hidden = max((each.size for each in outside if each.size < begin.size), default=None)
    report = Report(records=begin.size, removed=begin.size, unchecked=hidden, crossed=cross)
    walk = _Walk(begin, report, cross)
    try:
        walk.run(lines, _in_order([*points, *outside], report))
    except BadRecordError as bad:
        report.first_bad, report.reason = bad.seq, str(bad)
    except TreeError:
        report.first_bad, report.reason = begin.size, "the tombstone has no edge of a tree"
    walk.end()
    return report


def _in_order(points: Sequence[Checkpoint], report: Report) -> list[Checkpoint]:
    """Return checkpoints by size, once each; two of one size that differ are a fork (A07)."""
    found: dict[int, Checkpoint] = {}
    for point in points:
        before = found.setdefault(point.size, point)
        if before.root != point.root:
            vouched = max((each for each in found if each < point.size), default=0)
            why = f"two histories were signed: {point.size} records have two roots"
            raise BadRecordError(vouched, why)
        if before.origin != point.origin:
            raise BadRecordError(0, "checkpoints of two logs")
    report.checkpoints = sum(size >= report.removed for size in found)
    return [found[size] for size in sorted(found)]


class _Walk:
    def __init__(self, begin: Start, report: Report, cross: bool) -> None:
        self._begin = begin
        self._report = report
        self._calls = Calls(begin.size) if cross else None
        self._tombstone = begin.size == 0
        self._intents = Intents()
        self._unsigned = Unsigned()

    def run(self, lines: Iterable[bytes], points: list[Checkpoint]) -> None:
        report, begin = self._report, self._begin
        tree, before = Tree(begin.size, begin.edge), begin.hash
        waiting = iter([point for point in points if point.size >= begin.size])
        point = next(waiting, None)
        while point is not None and point.size == tree.size:
            self._compare(point, tree)
            point = next(waiting, None)
        source = iter(lines)
        while True:
            room = min(_BATCH, point.size - tree.size) if point is not None else _BATCH
            unsigned = self._unsigned if point is None else None
            leaves, bad = self._follow(source, tree.size, before, room, unsigned)
            if leaves:
                tree.extend(leaves)
                before = leaves[-1]
                report.records = tree.size
            if bad is not None:
                raise bad
            if point is not None and point.size == tree.size:
                self._compare(point, tree)
                point = next(waiting, None)
            elif len(leaves) < room:
                break
        largest = max((each.size for each in points), default=0)
        if largest > tree.size:
            why = f"a checkpoint speaks of {largest} records: the end is gone"
            raise BadRecordError(tree.size, why)
        if not self._tombstone:
            raise BadRecordError(0, f"records 0 to {begin.size - 1} are gone without a tombstone")

    def _follow(
        self,
        source: Iterator[bytes],
        seq: int,
        before: bytes,
        room: int,
        unsigned: Unsigned | None,
    ) -> tuple[list[bytes], BadRecordError | None]:
        """Follow the chain for so many lines; returns their hashes, and what ended it early."""
        leaves: list[bytes] = []
        digest, head, middle, at = sha256, b'{"hash":"', b'","record":{', RECORD_AT
        look: Callable[[bytes, int], BadRecordError | None] | None = self._look_quickly
        if self._calls is None:
            look = None if self._tombstone else self._seek
        for line in source:
            record = line[at:-2]
            made = digest(b"\0" + before + record)
            if (
                line[9:73] != made.hexdigest().encode()
                or line[:9] != head
                or line[73 : at + 1] != middle
                or line[-3:] != b"}}\n"
            ):
                return leaves, self._problem(line, source, seq + len(leaves))
            if b'"seq":%d,' % (seq + len(leaves)) not in record:
                why = "it says that it is another number"
                return leaves, BadRecordError(seq + len(leaves), why)
            if look is not None:
                bad = look(record, seq + len(leaves))
                if bad is not None:
                    return leaves, bad
            if unsigned is not None:
                unsigned.see(record)
            before = made.digest()
            leaves.append(before)
            if len(leaves) >= room:
                break
        return leaves, None

    def _problem(self, line: bytes, source: Iterator[bytes], seq: int) -> BadRecordError | None:
        if not line.endswith(b"\n") and next(source, None) is None:
            self._report.torn = True
            return None
        try:
            split(line)
        except BadLineError:
            return BadRecordError(seq, "not a line of a log")
        return BadRecordError(seq, "its hash does not follow from what is there")

    def _look_quickly(self, record: bytes, seq: int) -> BadRecordError | None:
        """Look at a record; most are calls as our writer spells them, which need no parsing."""
        calls = self._calls
        if calls is None or len(record) > MAX_RECORD:
            return self._look(record, seq)
        found = COMPLETION.fullmatch(record)
        if found is not None and int(found[4]) == seq:
            calls.end(found[1].decode(), seq, int(found[2]))
            return None
        found = self._intents.match(record) if found is None else None
        if found is None or int(found[3]) != seq:
            return self._look(record, seq)
        calls.begin(found[2].decode(), seq)
        return None

    def _look(self, record: bytes, seq: int) -> BadRecordError | None:
        try:
            facts = parse(record)
        except RecordError as error:
            return BadRecordError(seq, f"no record: {error}")
        if facts["seq"] != seq:
            return BadRecordError(seq, "it says that it is another number")
        if facts["kind"] == TOMBSTONE and not self._tombstone:
            self._tombstone = is_tombstone_of(facts, self._begin)
            if self._tombstone:
                self._report.removed_by = _names(facts.get("approvers"))
        if self._calls is not None:
            self._calls.see(facts)
        return None

    def _seek(self, record: bytes, seq: int) -> BadRecordError | None:
        """Look for the tombstone only."""
        return self._look(record, seq) if b'"audit.tombstone"' in record else None

    def _compare(self, point: Checkpoint, tree: Tree) -> None:
        report = self._report
        if point.root != tree.root():
            why = f"a checkpoint of {point.size} records was signed over other ones"
            raise BadRecordError(max(report.signed, self._begin.size), why)
        report.signed = point.size

    def end(self) -> None:
        """Say what is left open, and what should have been signed."""
        self._report.overdue = self._unsigned.why
        if self._calls is not None:
            self._report.open_intents = self._calls.open
            self._report.findings = self._calls.findings()


def _names(approvers: object) -> list[str]:
    names = approvers if isinstance(approvers, list) else []
    return [each for each in names if isinstance(each, str)]


def is_tombstone_of(facts: dict[str, Any], begin: Start) -> bool:
    """Tell whether a record says that what is below this start was removed."""
    edge = [node.hex() for node in begin.edge]
    same = facts.get("size") == begin.size and facts.get("hash") == begin.hash.hex()
    return same and facts.get("edge") == edge
