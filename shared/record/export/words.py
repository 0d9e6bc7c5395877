"""What all formats need: times, outcomes, severities, and JSON that is ASCII on one line."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.record.export.joined import MISSING, UNREADABLE, Event
from shared.record.model import GAP, RECOVERED, REFUSED, Result

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = 253_402_300_799_999_999
"""The last microsecond of the year 9999, which is the last a date can name."""
SUCCESS, FAILURE, UNKNOWN = "success", "failure", "unknown"
_BROKEN = frozenset((GAP, RECOVERED, UNREADABLE, MISSING, "audit.changed", "audit.tombstone"))
_HARMLESS = frozenset((Result.OK, Result.CANCELLED))
_UNSURE = frozenset((Result.UNKNOWN, Result.TIMEOUT))
_KNOWN = frozenset(Result)


def iso(time: int) -> str:
    """Return microseconds since 1970 as RFC 3339 has them, in UTC."""
    when = _EPOCH + timedelta(microseconds=min(time, _LAST))
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond:06d}Z".rjust(27, "0")


def outcome(event: Event) -> str:
    """Return how it ended: success, failure, unknown."""
    record = event.record
    if record.kind == REFUSED or (event.why.decision == "deny" and not record.result):
        return FAILURE
    if record.result not in _KNOWN or record.result in _UNSURE:
        return UNKNOWN
    return SUCCESS if record.result == Result.OK else FAILURE


def severity(event: Event) -> int:
    """Return how much it matters: 1 (nothing to do) to 4 (look at once)."""
    record = event.record
    if record.kind in _BROKEN:
        return 4
    if record.kind == REFUSED or event.why.decision == "deny" or record.scrub_hits:
        return 3
    if record.result and record.result not in _HARMLESS:
        return 2
    return 1


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
        return _spelled(_finite(value))


def _spelled(value: object) -> bytes:
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), sort_keys=True)
    return text.encode("ascii")


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def without_empty(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return what says something: no None, no empty text, list or object."""
    return {
        name: each
        for name, each in value.items()
        if each is not None and not (isinstance(each, (str, list, dict)) and not each)
    }
