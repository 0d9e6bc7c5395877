"""Finds records in the files of a log; nothing is executed and nothing changed."""

from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jiter

from shared.audit.private import AuditError
from shared.audit.segments import lines, segments
from shared.escape import one_line
from shared.record.chain import BadLineError, split

Record = Mapping[str, Any]
_ISO_SECONDS = 1_000_000


class Wanted(NamedTuple):
    """What is looked for; None: it does not matter. Times in microseconds since the epoch."""

    kind: str | None = None
    user: str | None = None
    agent: str | None = None
    session: str | None = None
    server: str | None = None
    tool: str | None = None
    tool_class: str | None = None
    decision: str | None = None
    call: str | None = None
    since: int | None = None
    until: int | None = None
    after: int = -1
    """Records above this number: where the page before ended."""

    def fits(self, record: Record) -> bool:
        """Tell whether this is one of them."""
        who, what, why = (_part(record, name) for name in ("who", "what", "why"))
        checks = (
            (self.user, who.get("user")),
            (self.agent, who.get("agent")),
            (self.server, what.get("server", record.get("upstream"))),
            (self.tool, what.get("name", record.get("tool"))),
            (self.tool_class, what.get("class")),
            (self.decision, why.get("decision")),
            (self.call, record.get("call")),
        )
        if any(wanted is not None and wanted != found for wanted, found in checks):
            return False
        session = str(who.get("session", record.get("session", "")))
        if self.session is not None and not session.startswith(self.session):
            return False
        if self.kind is not None and not str(record.get("kind", "")).startswith(self.kind):
            return False
        now = record.get("time", 0)
        early = self.since is not None and now < self.since
        return not early and not (self.until is not None and now >= self.until)


def read(folder: Path, wanted: Wanted) -> Iterator[Record]:
    """Yield the records that are wanted, oldest first; raises AuditError."""
    parts = segments(folder)
    if not parts:
        raise AuditError(f"no log in {folder}")
    ends = [first for first, _ in parts[1:]]
    for (_, path), end in zip(parts, [*ends, None], strict=True):
        if end is not None and end <= wanted.after + 1:
            continue
        for line in lines(path):
            try:
                record = jiter.from_json(split(line)[1])
            except (BadLineError, ValueError):
                continue  # `verify` says what is wrong with it
            if record.get("seq", -1) > wanted.after and wanted.fits(record):
                yield record


def newest(folder: Path, wanted: Wanted, count: int) -> list[Record]:
    """Return the newest so many, oldest first."""
    return list(deque(read(folder, wanted), maxlen=count))


def row(record: Record) -> str:
    """Return a record as one line for people, whatever somebody wrote into it (A02)."""
    from datetime import UTC, datetime

    when = datetime.fromtimestamp(record.get("time", 0) / _ISO_SECONDS, UTC)
    facts = {
        key: value
        for key, value in record.items()
        if key not in ("seq", "time", "kind", "v", "who", "what", "why", "arguments", "body")
    }
    who, what, why = (_part(record, name) for name in ("who", "what", "why"))
    said = [f"{who.get('user', '-')} by {who.get('agent', '-')}"] if who else []
    if what:
        said.append(f"{what.get('server', '')}/{what.get('name') or what.get('method', '')}")
    if why:
        said.append(f"{why.get('decision')} ({why.get('rule') or why.get('by') or '-'})")
    said += (f"{key}={value}" for key, value in sorted(facts.items()))
    text = f"{record.get('seq'):>8} {when:%Y-%m-%dT%H:%M:%S.%fZ} {record.get('kind')}  "
    return one_line(text + "  ".join(said), 400)


def _part(record: Record, name: str) -> Mapping[str, Any]:
    found = record.get(name)
    return found if isinstance(found, Mapping) else {}
