"""What the files of the relay's log say for a report: verified, and the newest records in short.

Of a record only who, what and what became of it: no argument, not even a redacted one.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import jiter

from shared.audit.keys import PUBLIC_FILE
from shared.audit.notes import last_note
from shared.audit.private import AuditError
from shared.audit.segments import lines, segments
from shared.audit.verifying import verify_folder
from shared.keys import BadKeyError, decode_public, key_fingerprint
from shared.record.chain import BadLineError, split
from shared.record.model import INTENT

MAX_ODD = 20
_PLAIN = ("by", "command", "outcome", "tunnel", "upstream", "instance", "result", "reason")
_OF_INTENT = ("user", "agent", "server", "what", "class", "decision")
Facts = dict[str, Any]


def not_looked_at(why: str) -> Facts:
    """Return what is said of a log nobody looked at: whether it is whole is not known."""
    return {"looked": False, "problem": why, "ok": None, "sample": []}


def look(folder: Path, count: int) -> Facts:
    """Verify the log and take its newest records; whatever is wrong with it is a fact, no error."""
    try:
        public = decode_public((folder / PUBLIC_FILE).read_text().strip())
        report = verify_folder(folder, public)
    except (AuditError, OSError, UnicodeDecodeError, BadKeyError) as error:
        said = str(error) if isinstance(error, AuditError) else type(error).__name__
        # It is here and it is on: that it cannot be read is what a break looks like.
        return {**not_looked_at(f"the log cannot be read: {said}"), "ok": False}
    note, sample = None, []
    with suppress(AuditError):  # what is wrong with it, the verification says
        note = last_note(folder)
        sample = newest(folder, count)
    odd = sorted(report.findings, key=lambda each: not each.grave)
    names = ("ok", "records", "removed", "signed", "checkpoints", "unproven", "first_bad", "reason")
    return {
        "looked": True,
        "problem": None,
        **{name: getattr(report, name) for name in (*names, "torn")},
        "open": len(report.open_intents),
        "odd": [each.as_dict() for each in odd[:MAX_ODD]],
        "key": key_fingerprint(public),
        "checkpoint": note,
        "sample": sample,
    }


def newest(folder: Path, count: int) -> list[Facts]:
    """Return the newest records in short, the newest first; raises AuditError.

    A call that is over is one of them: its end, with what its intent said.
    """
    found: list[Facts] = []
    for segment in reversed(segments(folder)):
        here: dict[str, Facts] = {}
        begun: dict[str, Facts] = {}
        for record in _records(segment.path):
            shown, seq, ends = brief(record), str(record.get("seq")), str(record.get("intent"))
            if record.get("kind") == INTENT:
                begun[seq] = shown
            elif ends in begun:
                shown |= _said(begun.pop(ends))
                here.pop(ends, None)
            here[seq] = shown
            if len(here) > 2 * count:
                del here[next(iter(here))]
        found += list(reversed(here.values()))[: count - len(found)]
        if len(found) >= count:
            break
    return found


def _records(path: Path) -> Iterator[Facts]:
    """Yield what can be read of a segment; what is wrong with it, the verification says."""
    with suppress(AuditError):
        for line in lines(path):
            with suppress(BadLineError, ValueError):
                record = jiter.from_json(split(line)[1])
                if isinstance(record, dict):
                    yield record


def brief(record: Mapping[str, Any]) -> Facts:
    """Return what a report shows of a record."""
    who, what, why = (_part(record, name) for name in ("who", "what", "why"))
    told = {name: str(record[name])[:200] for name in _PLAIN if record.get(name) is not None}
    server = what.get("server", told.get("upstream"))
    return {
        "seq": record.get("seq"),
        "time": record.get("time"),
        "kind": record.get("kind"),
        "user": who.get("user", told.get("by")),
        "agent": who.get("agent"),
        "server": server,
        "what": what.get("name") or what.get("method") or told.get("command") or _ended(record),
        "class": what.get("class"),
        "decision": why.get("decision"),
        "outcome": told.get("result") or told.get("outcome"),
    }


def _said(intent: Facts) -> Facts:
    """Return what the end of a call is shown with."""
    return {name: intent[name] for name in _OF_INTENT}


def _ended(record: Mapping[str, Any]) -> str | None:
    intent = record.get("intent")
    return f"ends record {intent}" if isinstance(intent, int) else None


def _part(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = record.get(name)
    return found if isinstance(found, Mapping) else {}
