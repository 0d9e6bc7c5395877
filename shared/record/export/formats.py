"""One line of the log in, one line of another system out: or none, when it has no word for it."""

from collections.abc import Callable, Sequence
from typing import Any

from shared.record.chain import BadLineError, split
from shared.record.export.cef import cef
from shared.record.export.ecs import ecs
from shared.record.export.joined import UNREADABLE, Event, Joiner, Origin, missing
from shared.record.export.names import Format
from shared.record.export.ocsf import ocsf
from shared.record.export.otlp import request, span
from shared.record.export.otlp_metrics import Kept, Totals, metrics_request
from shared.record.export.syslog import message
from shared.record.export.words import compact


def _json(spell: Callable[[Event, Origin], dict[str, Any]]) -> Callable[[Event, Origin], bytes]:
    return lambda event, origin: compact(spell(event, origin))


def _span(event: Event, origin: Origin) -> bytes:
    found = span(event, origin)
    return b"" if found is None else compact(found)


def _measured(totals: Totals) -> Callable[[Event, Origin], bytes]:
    def spell(event: Event, _: Origin) -> bytes:
        found = totals.measured(event)
        return b"" if found is None else compact(found)

    return spell


_SPELLED: dict[Format, Callable[[Event, Origin], bytes]] = {
    "ocsf": _json(ocsf),
    "ecs": _json(ecs),
    "cef": cef,
    "otlp": _span,
}


class Formatter:
    """Spells a log in one format, each line a message of syslog if asked; takes them in order."""

    def __init__(self, name: Format, origin: Origin, *, syslog: bool = False) -> None:
        self.origin = origin
        self._totals = Totals()
        metrics = _measured(self._totals) if name == "otlp-metrics" else None
        self._spell = metrics or _SPELLED.get(name)
        self._syslog = syslog
        self._joiner = Joiner()
        self.joins = name != "jsonl"
        """Does it need to know intents that were sent before?"""

    @property
    def first_open(self) -> int | None:
        """Number of the oldest intent that a later line may need."""
        return self._joiner.first_open if self.joins else None

    @property
    def totals(self) -> Kept:
        """What lines so far come to, where they add up."""
        return self._totals.kept

    def go_on_from(self, totals: Kept) -> None:
        """Let the lines to come add up to what others did."""
        self._totals.restore(totals)

    def line(self, seq: int, line: bytes) -> bytes:
        """Return a line of the log in this format, without its end; empty for nothing to say."""
        if self._spell is None and not self._syslog and _is_native(line):
            return line[:-1]
        event = self._joiner.take(seq, line)
        if self._spell is None and _is_native(line):
            # As it is, hash and all: the copy can be verified like the log.
            return self._whole(event, line[:-1])
        return self._event(event)

    def missing(self, first: int, last: int, now: int) -> bytes:
        """Return what says that records were removed before they were exported."""
        return self._event(missing(first, last, now))

    def _event(self, event: Event) -> bytes:
        spelled = _own(event) if self._spell is None else self._spell(event, self.origin)
        return self._whole(event, spelled) if spelled else b""

    def _whole(self, event: Event, content: bytes) -> bytes:
        return message(event, self.origin, content) if self._syslog else content


def _is_native(line: bytes) -> bool:
    """Is it a line of a log? Then nothing in it ends it: it was spelled so that nothing can."""
    try:
        split(line)
    except BadLineError:
        return False
    return b"\n" not in line[:-1] and b"\r" not in line


def _own(event: Event) -> bytes:
    """Return a native line that is no record of the log: it has no hash."""
    record = event.record
    said = {"unreadable": record.seq} if record.kind == UNREADABLE else dict(record.facts)
    return compact({"export": said})


def otlp_body(name: Format, lines: Sequence[bytes], origin: Origin) -> bytes:
    """Return lines of the format `otlp` or `otlp-metrics` as the body of one request."""
    if name == "otlp-metrics":
        return compact(metrics_request(lines, origin))
    whole = compact(request((), origin))
    # Spelled already: they are put where the empty list of them stands.
    return whole.replace(b'"spans":[]', b'"spans":[' + b",".join(lines) + b"]", 1)
