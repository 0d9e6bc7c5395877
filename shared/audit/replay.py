"""Shows a session again, from the log: it is read, and nothing is called or sent (A21)."""

from dataclasses import dataclass
from typing import Any

from shared.audit.private import AuditError
from shared.audit.query import Query, Wanted
from shared.record.model import COMPLETION
from shared.record.timeline import Entry, steps


class UnknownSessionError(AuditError):
    """There is no session of that name, or there are several."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A part of a session, and the cursor of the next; None: that was all."""

    session: str
    entries: list[Entry]
    cursor: int | None

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        entries = [entry.as_dict() for entry in self.entries]
        return {"session": self.session, "entries": entries, "cursor": self.cursor}


def replay(log: Query, session: str, *, limit: int = 500, after: int | None = None) -> Replayed:
    """Return how a session went; raises UnknownSessionError, AuditError.

    `session`: its id, or how it begins.
    """
    ids = log.sessions(session)
    if len(ids) != 1:
        which = "no session" if not ids else f"{len(ids)} sessions"
        raise UnknownSessionError(f"{which} of that name: give its whole id")
    page = log.page(Wanted(session=ids[0]), limit=limit, after=after)
    entries, under_way = steps(page.records)
    for call, entry in under_way.items():
        # It may have ended behind the edge of this page.
        for record in log.page(Wanted(call=call, kind=COMPLETION), limit=1).records:
            entry.end(record)
    return Replayed(ids[0], entries, page.cursor)
