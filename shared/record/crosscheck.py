"""What records say of calls and approvals, held against each other; pure."""

from dataclasses import dataclass
from typing import Any

from shared.record.model import COMPLETION, GRANTED, INTENT

MAX_FINDINGS = 1000
MAX_REMEMBERED = 1_000_000
"""Approvals that are held against calls; of more the oldest are not looked at any more."""


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


class Calls:
    """Follows calls and approvals through a log; total. `first`: the number it begins with.

    A log speaks of approvals that were given (a relay's) or only of those that were used (a
    client's): what is used is held against what was given in the first kind only.
    """

    def __init__(self, first: int = 0) -> None:
        self.open: dict[str, int] = {}
        self._first = first
        self._granted: dict[str, tuple[int, object]] = {}
        self._used: dict[str, tuple[int, object]] = {}
        self._findings: list[Finding] = []

    def see(self, facts: dict[str, Any]) -> None:
        """Take a record, in order."""
        kind = facts["kind"]
        if kind == INTENT:
            self.begin(_call(facts), facts["seq"], facts.get("approval"))
        elif kind == COMPLETION:
            self.end(_call(facts), facts["seq"], facts.get("intent"))
        elif kind == GRANTED:
            approval = facts.get("approval")
            if isinstance(approval, dict) and isinstance(approval.get("id"), str):
                if len(self._granted) >= MAX_REMEMBERED:
                    del self._granted[next(iter(self._granted))]
                self._granted[approval["id"]] = (facts["seq"], approval.get("arguments"))

    def begin(self, call: str, seq: int, approval: object = None) -> None:
        """Take the intent of a call, in order."""
        if call in self.open:
            self._find("begun twice", seq, call, grave=True)
        self.open[call] = seq
        if isinstance(approval, dict):
            used = str(approval.get("id", ""))[:64]
            if used in self._used:
                self._find("approval used twice", seq, used, grave=True)
            elif len(self._used) < MAX_REMEMBERED:
                self._used[used] = (seq, approval.get("arguments"))

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
        for name, (seq, arguments) in self._used.items():
            given = self._granted.get(name)
            if given is not None and given[1] != arguments:
                found.append(Finding("approved for other arguments", seq, name, grave=True))
            elif given is None and self._granted and not self._first:
                found.append(Finding("used, never given", seq, name, grave=True))
        for name, (seq, _) in self._granted.items():
            if name not in self._used:
                found.append(Finding("given, not used", seq, name, grave=False))
        return found[:MAX_FINDINGS]

    def _find(self, kind: str, seq: int, name: str, *, grave: bool) -> None:
        if len(self._findings) < MAX_FINDINGS:
            self._findings.append(Finding(kind, seq, name, grave))


def _call(facts: dict[str, Any]) -> str:
    return str(facts.get("call", ""))[:128]
