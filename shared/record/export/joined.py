"""A record with what its call's intent said: most systems look at one event, not at two.

A completion names its intent by number. Intents without an end are remembered, as many as
`MAX_OPEN`; what is older is forgotten, and its completion then stands for itself.
"""

import re
from dataclasses import dataclass, replace

from shared.record.chain import BadLineError, split
from shared.record.model import (
    COMPLETION,
    INTENT,
    Approval,
    Record,
    RecordError,
    What,
    Who,
    Why,
    read,
)

MAX_OPEN = 10_000
UNREADABLE = "audit.unreadable"
"""Stands for a line of the log that is none; `verify` says what is wrong with it."""
MISSING = "audit.export_gap"
"""Stands for records that were removed before they were exported."""

_TRACE = re.compile(r"([0-9a-f]{32})(?:-([0-9a-f]{16}))?")


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose records they are."""

    program: str
    """tunnel-relay or tunnel-client."""
    log: str
    """Origin of the log's checkpoints."""
    version: str
    host: str


@dataclass(frozen=True, slots=True)
class Event:
    """A record, and what is known of its call."""

    record: Record
    hash: str = ""
    """Hash of the chain; empty for what is no record of the log."""
    intent: Record | None = None

    @property
    def who(self) -> Who:
        """Who called."""
        return (self.intent or self.record).who

    @property
    def what(self) -> What:
        """What was called."""
        return (self.intent or self.record).what

    @property
    def why(self) -> Why:
        """What decided."""
        return (self.intent or self.record).why

    @property
    def trace(self) -> str:
        """Trace id of the agent's, 32 hex digits; empty when there is none."""
        matched = _TRACE.fullmatch((self.intent or self.record).trace)
        return matched[1] if matched is not None and matched[1].strip("0") else ""

    @property
    def parent(self) -> str:
        """The agent's span in that trace, 16 hex digits; empty when it is not known."""
        matched = _TRACE.fullmatch((self.intent or self.record).trace)
        return matched[2] or "" if matched is not None and self.trace else ""

    @property
    def source(self) -> str:
        """Address the request came from."""
        return (self.intent or self.record).source

    @property
    def approval(self) -> Approval:
        """The approval that let the call pass, or that was given; empty when there is none."""
        return (self.intent or self.record).approval or Approval()

    @property
    def request(self) -> str:
        """The number that the agent was told."""
        return (self.intent or self.record).request

    @property
    def is_call(self) -> bool:
        """Is it about a call?"""
        return self.record.kind.startswith("call.")


class Joiner:
    """Reads lines of a log in order; pure but for what it remembers."""

    def __init__(self, most: int = MAX_OPEN) -> None:
        self._most = most
        self._open: dict[int, Record] = {}

    @property
    def first_open(self) -> int | None:
        """Number of the oldest intent that is remembered: where a new reader has to begin."""
        return next(iter(self._open), None)

    def take(self, seq: int, line: bytes) -> Event:
        """Return what a line says; one that says nothing becomes a record of that."""
        try:
            found, raw = split(line)
            record = _in_texts(read(raw))
        except (BadLineError, RecordError):
            return Event(Record(seq=seq, time=0, kind=UNREADABLE))
        intent = None
        if record.kind == INTENT:
            # Kept for its end, which does not ask for what it does not show.
            self._open[record.seq] = replace(record, arguments={}, facts={}, body="")
            if len(self._open) > self._most:
                del self._open[next(iter(self._open))]
        elif record.kind == COMPLETION and record.intent is not None:
            intent = self._open.pop(record.intent, None)
        return Event(record, found.hex(), intent)


def _in_texts(record: Record) -> Record:
    """Return a record with texts alone where a reader keeps lists too, which nobody writes."""
    if record.approval is not None:
        record = replace(record, approval=_approval(record.approval))
    if _is_plain(record.what) and _is_plain(record.why):
        return record
    return replace(record, what=What(*_plain(record.what)), why=Why(*_plain(record.why)))


def _approval(given: Approval) -> Approval:
    """Return an approval whose names are a list each, and without the digest (attack A13)."""
    name = given.id if isinstance(given.id, str) else ""
    approvers, keys = given.approvers, given.keys
    return Approval(
        name,
        approvers if isinstance(approvers, tuple) else (),
        keys if isinstance(keys, tuple) else (),
    )


def _is_plain(facts: What | Why) -> bool:
    return all(isinstance(getattr(facts, name), str) for name in facts.__slots__)


def _plain(facts: What | Why) -> list[str]:
    given = (getattr(facts, name) for name in facts.__slots__)
    return [each if isinstance(each, str) else "" for each in given]


def missing(first: int, last: int, now: int) -> Event:
    """Return what stands for records that were removed before they were exported."""
    return Event(Record(first, now, MISSING, facts={"from": first, "to": last}))
