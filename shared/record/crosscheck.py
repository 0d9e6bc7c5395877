"""What records say of calls and approvals, held against each other; pure."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Self, TypeVar

from shared.record.model import ASKED, CHANGED, COMPLETION, GRANTED, INTENT, OPENED

MAX_FINDINGS = 1000
MAX_REMEMBERED = 1_000_000
"""Approvals that are held against calls; of more the oldest are not looked at any more."""
LONGEST_APPROVAL = 7 * 86400 * 1_000_000
"""Microseconds from the question to the last moment at which its approval can be used."""
_T = TypeVar("_T")
_AWAY = frozenset({"on", "folder"})
_NEVER, _UNSEEN = "used, never given", "used, given while no log was kept"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not fit together; `grave`: no log that was kept well says so."""

    kind: str
    seq: int
    """The record that shows it."""
    name: str
    """The call or the approval it is about."""
    grave: bool

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"kind": self.kind, "seq": self.seq, "name": self.name, "grave": self.grave}


class _Given(NamedTuple):
    """What a record says of an approval: when it is given, or used."""

    seq: int
    arguments: object
    approvers: frozenset[str]
    keys: frozenset[str]
    """Those of approvers; where it is used, the relay's too."""

    @classmethod
    def of(cls, approval: object, seq: int) -> Self:
        """Read it; total."""
        facts = approval if isinstance(approval, dict) else {}
        texts = (_texts(facts.get(name)) for name in ("approvers", "keys"))
        return cls(seq, facts.get("arguments"), *texts)


class Calls:
    """Follows calls and approvals through a log; total. `first`: the number it begins with.

    A log speaks of approvals that were given (a relay's) or only of those that were used (a
    client's): what is used is held against what was given in the first kind only. A log that was
    not kept for a while, or begun anew, does not know what was given meanwhile.
    """

    def __init__(self, first: int = 0) -> None:
        self.open: dict[str, int] = {}
        self._first = first
        self._asked: dict[str, int] = {}
        self._granted: dict[str, _Given] = {}
        self._used: set[str] = set()
        self._speaks = False
        """Did one of those that were used stand in it before?"""
        self._never: list[Finding] = []
        self._unseen: list[Finding] = []
        """Apart, so that what proves nothing never takes the place of what does."""
        self._kept_since = (first - 1, 0)
        """Number and time of the newest record before which something may be missing."""
        self._findings: list[Finding] = []

    def see(self, facts: dict[str, Any]) -> None:
        """Take a record, in order."""
        kind = facts["kind"]
        if kind == INTENT:
            self.begin(_call(facts), facts["seq"], facts.get("approval"), facts.get("time"))
        elif kind == COMPLETION:
            self.end(_call(facts), facts["seq"], facts.get("intent"))
        elif _begins_to_be_kept(facts):
            self._kept_since = facts["seq"], _time(facts.get("time"))
        elif kind == ASKED:
            _remember(self._asked, _name(facts.get("approval")), facts["seq"])
        elif kind == GRANTED:
            approval = facts.get("approval")
            _remember(self._granted, _name(approval), _Given.of(approval, facts["seq"]))

    def begin(self, call: str, seq: int, approval: object = None, time: object = 0) -> None:
        """Take the intent of a call, in order; `time` in microseconds since 1970."""
        if call in self.open:
            self._find("begun twice", seq, call, grave=True)
        self.open[call] = seq
        if isinstance(approval, dict):
            used = _name(approval)
            if used in self._used:
                self._find("approval used twice", seq, used, grave=True)
            elif len(self._used) < MAX_REMEMBERED:
                self._used.add(used)
                self._use(used, _Given.of(approval, seq), _time(time))

    def _use(self, name: str, used: "_Given", time: int) -> None:
        given, asked = self._granted.pop(name, None), self._asked.pop(name, None)
        self._speaks = self._speaks or asked is not None or given is not None
        seq = used.seq
        if given is not None:
            if given.arguments != used.arguments:
                self._find("approved for other arguments", seq, name, grave=True)
            if given.approvers != used.approvers or not given.keys <= used.keys:
                self._find("approved by others", seq, name, grave=True)
            return
        since, kept = self._kept_since
        if asked is not None:
            sure = asked > since
        else:  # it was asked before the log was kept, or never
            sure = not self._first and kept > 0 and time - kept > LONGEST_APPROVAL
        told = self._never if sure else self._unseen
        if len(told) < MAX_FINDINGS:
            told.append(Finding(_NEVER if sure else _UNSEEN, seq, name, grave=sure))

    def end(self, call: str, seq: int, intent: object) -> None:
        """Take the completion of a call, in order."""
        begun = self.open.pop(call, None)
        if begun is not None and begun == intent:
            return
        removed = isinstance(intent, int) and intent < self._first
        if begun is None and not removed:
            self._find("ended without an intent", seq, call, grave=True)
        elif begun is not None and intent != begun:
            self._find("ended another intent", seq, call, grave=True)

    def findings(self) -> list[Finding]:
        """Return what does not fit, with what is only known at the end (A20)."""
        found = list(self._findings)
        if self._speaks or self._granted or self._asked:
            found += self._never + self._unseen
        for name, given in self._granted.items():
            found.append(Finding("given, not used", given.seq, name, grave=False))
        return found[:MAX_FINDINGS]

    def _find(self, kind: str, seq: int, name: str, *, grave: bool) -> None:
        if len(self._findings) < MAX_FINDINGS:
            self._findings.append(Finding(kind, seq, name, grave))


def _begins_to_be_kept(facts: dict[str, Any]) -> bool:
    """Tell whether approvals may have been given before this record that the log does not know.

    It was begun, or was turned off or moved. A killed writer, or a disk that was full, loses none:
    no approval holds before the disk has its record.
    """
    if facts["kind"] == CHANGED:
        changed = facts.get("changed")
        return isinstance(changed, dict) and not _AWAY.isdisjoint(changed)
    return bool(facts["kind"] == OPENED and facts["seq"] == 0)


def _call(facts: dict[str, Any]) -> str:
    return str(facts.get("call", ""))[:128]


def _name(facts: object) -> str:
    found = facts.get("id") if isinstance(facts, dict) else None
    return found[:64] if isinstance(found, str) else ""


def _texts(value: object) -> frozenset[str]:
    found = value if isinstance(value, list) else []
    return frozenset(each for each in found if isinstance(each, str))


def _time(value: object) -> int:
    return value if isinstance(value, int) else 0


def _remember(known: dict[str, _T], name: str, what: _T) -> None:
    """Keep it by its name, if it has one; the oldest goes where there are too many."""
    if name:
        if len(known) >= MAX_REMEMBERED:
            del known[next(iter(known))]
        known[name] = what
