"""One line of the log in, one line of another system out: or none, when it has no word for it."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from shared.record.chain import BadLineError, split
from shared.record.export.cef import cef
from shared.record.export.ecs import ecs
from shared.record.export.joined import UNREADABLE, Event, Joiner, Origin, missing
from shared.record.export.names import Format
from shared.record.export.ocsf import ocsf
from shared.record.export.otlp import request, span
from shared.record.export.words import compact


def _json(spell: Callable[[Event, Origin], dict[str, Any]]) -> Callable[[Event, Origin], bytes]:
    return lambda event, origin: compact(spell(event, origin))


def _span(event: Event, origin: Origin) -> bytes:
    found = span(event, origin)
    return b"" if found is None else compact(found)


_SPELLED: dict[Format, Callable[[Event, Origin], bytes]] = {
    "ocsf": _json(ocsf),
    "ecs": _json(ecs),
    "cef": cef,
    "otlp": _span,
}


class Formatter:
    """Spells a log in one format; takes its lines in order."""

    def __init__(self, name: Format, origin: Origin) -> None:
        self.origin = origin
        self._spell = _SPELLED.get(name)
        self._joiner = Joiner()
        self.joins = name != "jsonl"
        """Does it need to know intents that were sent before?"""

    @property
    def first_open(self) -> int | None:
        """Number of the oldest intent that a later line may need."""
        return self._joiner.first_open

    def event(self, seq: int, line: bytes) -> Event:
        """Return what a line says."""
        return self._joiner.take(seq, line)

    def spell(self, event: Event) -> bytes:
        """Return an event as one line without its end; empty when there is nothing to say."""
        return self._own(event) if self._spell is None else self._spell(event, self.origin)

    def line(self, seq: int, line: bytes) -> bytes:
        """Return a line in this format."""
        if self._spell is not None:
            return self._spell(self.event(seq, line), self.origin)
        try:
            split(line)
        except BadLineError:
            return self._own(self.event(seq, b""))
        # As it is, hash and all: the copy can be verified like the log. Nothing in a line that we
        # wrote ends it, and what somebody wrote into the file must not.
        inner = line[:-1]
        return (
            inner if b"\n" not in inner and b"\r" not in inner else self._own(self.event(seq, b""))
        )

    def missing(self, first: int, last: int, now: int) -> bytes:
        """Return what says that records were removed before they were exported."""
        return self.spell(missing(first, last, now))

    def _own(self, event: Event) -> bytes:
        """Return a line that is no record of the log: it has no hash."""
        record = event.record
        said = {"unreadable": record.seq} if record.kind == UNREADABLE else dict(record.facts)
        return json.dumps({"export": said}, separators=(",", ":"), sort_keys=True).encode()


def spans(lines: Sequence[bytes], origin: Origin) -> bytes:
    """Return lines of the format `otlp` as the body of one request."""
    whole = compact(request((), origin))
    # Spelled already: they are put where the empty list of them stands.
    return whole.replace(b'"spans":[]', b'"spans":[' + b",".join(lines) + b"]", 1)
