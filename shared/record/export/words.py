"""What all formats need: times, outcomes, severities, and JSON that is ASCII on one line."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.record.export.joined import MISSING, UNREADABLE, Event
from shared.record.model import GAP, RECOVERED, REFUSED, Record, Result, user_text

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = 253_402_300_799_999_999
"""The last microsecond of the year 9999, which is the last a date can name."""
SUCCESS, FAILURE, UNKNOWN = "success", "failure", "unknown"
_BROKEN = frozenset((GAP, RECOVERED, UNREADABLE, MISSING, "audit.changed", "audit.tombstone"))
_HARMLESS = frozenset((Result.OK, Result.CANCELLED))
_UNSURE = frozenset((Result.UNKNOWN, Result.TIMEOUT))
_KNOWN = frozenset(Result)
_DONE = frozenset(("login.ok", "login.over"))
_FAILED = frozenset(("failed", "refused", "throttled", "unauthenticated"))
"""How kinds end that say by themselves that something came to nothing."""
_MOST = 2**31
"""What OCSF calls an integer is smaller."""


def iso(time: int) -> str:
    """Return microseconds since 1970 as RFC 3339 has them, in UTC."""
    when = _EPOCH + timedelta(microseconds=min(time, _LAST))
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond:06d}Z".rjust(27, "0")


def outcome(event: Event) -> str:
    """Return how it ended: success, failure, unknown."""
    record = event.record
    if record.kind == REFUSED or (event.why.decision == "deny" and not record.result):
        return FAILURE
    if not record.result:
        return _told(record)
    if record.result not in _KNOWN or record.result in _UNSURE:
        return UNKNOWN
    return SUCCESS if record.result == Result.OK else FAILURE


def _told(record: Record) -> str:
    """Return how something ended that is no call, by its kind; of commands they say it."""
    if record.kind == "admin.done" and "outcome" in record.facts:
        return SUCCESS if record.facts["outcome"] == "ok" else FAILURE
    if record.kind in _DONE:
        return SUCCESS
    return FAILURE if record.kind.rpartition(".")[2] in _FAILED else UNKNOWN


def severity(event: Event) -> int:
    """Return how much it matters: 1 (nothing to do) to 4 (look at once)."""
    record = event.record
    if record.kind in _BROKEN:
        return 4
    if record.kind == REFUSED or event.why.decision == "deny" or record.scrub_hits:
        return 3
    failed = record.result not in _HARMLESS if record.result else _told(record) == FAILURE
    return 2 if failed else 1


def user(event: Event) -> str:
    """Return who did it: whoever decided or commanded, else whose call or login it is."""
    facts = event.record.facts
    return user_text(facts.get("by")) or event.who.user or user_text(facts.get("user"))


def target(event: Event) -> str:
    """Return whom somebody did it to; empty for nobody, and for oneself."""
    facts, given = event.record.facts, event.record.arguments
    # What a tool calls `user` is not one of ours.
    named = given.get("user") if event.record.kind.startswith("admin.") else None
    found = event.who.user or user_text(facts.get("user")) or user_text(named)
    return found if found != user(event) else ""


def times(event: Event) -> int:
    """Return how many were counted together in a record; 0 when it is of one."""
    count = event.record.facts.get("count")
    return count if type(count) is int and 0 < count < _MOST else 0


def interval(event: Event) -> tuple[int, int] | None:
    """Return when the first and the last of them were, in microseconds since 1970."""
    began, ended = (event.record.facts.get(name) for name in ("began", "ended"))
    if type(began) is int and type(ended) is int and 0 <= began <= ended <= _LAST:
        return began, ended
    return None


def approval(event: Event) -> dict[str, Any]:
    """Return which approval it is about and who gave it, by the names of the record."""
    given = event.approval
    people = {"approvers": list(given.approvers), "keys": list(given.keys)}
    return without_empty({"id": given.id, **people})


def said(event: Event) -> str:
    """Return what happened in a few words; may hold anything that somebody else wrote."""
    record, what = event.record, event.what
    parts = [record.kind]
    if what.server:
        parts.append(what.server)
    parts += [each for each in (what.method, what.name, record.result, record.reason) if each]
    return " ".join(parts)


def number(event: Event, log: str) -> str:
    """Return what names a record among all logs: it comes twice at most with the same one."""
    return f"{log}#{event.record.seq}"


def compact(value: Mapping[str, Any]) -> bytes:
    """Return JSON in ASCII: nothing in it can end a line, whatever a reader takes for an end.

    A number that is read as infinite, as 1e400 is, has no word there, and is null.
    """
    try:
        return _spelled(value)
    except ValueError:
        return _spelled(finite(value))


def _spelled(value: object) -> bytes:
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), sort_keys=True)
    return text.encode("ascii")


def finite(value: object) -> object:
    """Return a value with null for every number that JSON has no word for."""
    if isinstance(value, dict):
        return {name: finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def without_empty(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return what says something: no None, no empty text, list or object."""
    return {
        name: each
        for name, each in value.items()
        if each is not None and not (isinstance(each, (str, list, dict)) and not each)
    }
