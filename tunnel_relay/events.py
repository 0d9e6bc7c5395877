"""The newest operator events, kept in memory for the console's feed. Pure."""

from collections import deque
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

MOST = 1000
MAX_FIELDS = 12
MAX_TEXT = 200
OURS = "tunnel_relay"
_KEPT_LEVELS = frozenset(("info", "warning", "error", "critical"))
_NOT_FIELDS = frozenset(("event", "level", "timestamp", "exc_info", "exception", "stack_info"))


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log, as people read it; `number` grows by one with each."""

    number: int
    at: str
    level: str
    name: str
    fields: tuple[tuple[str, str], ...]


class EventRing:
    """The last `most` events; older ones are forgotten."""

    def __init__(self, most: int = MOST) -> None:
        self._events: deque[Event] = deque(maxlen=most)
        self.last = 0
        """The number of the newest event, 0 before the first."""

    def add(self, at: str, level: str, name: str, fields: Mapping[str, Any]) -> None:
        """Keep an event; long texts and many fields are cut."""
        self.last += 1
        shown = tuple(
            (key, _text(value)[:MAX_TEXT]) for key, value in list(fields.items())[:MAX_FIELDS]
        )
        self._events.append(Event(self.last, at, level, name[:MAX_TEXT], shown))

    def newest(self, most: int) -> list[Event]:
        """Return the newest events, the newest first."""
        events = list(self._events)
        return events[: -most - 1 : -1]


def _text(value: Any) -> str:
    """Write a field as people read it: a report as its parts, a list as its members."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(each)}" for key, each in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(_text, value)) or "-"
    return str(value)


class Keep:
    """A structlog processor that keeps what the relay itself says, from INFO up."""

    def __init__(self, ring: EventRing) -> None:
        self._ring = ring

    def __call__(
        self, logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Keep a log line that is on its way, and let it pass."""
        name = str(getattr(logger, "name", ""))
        if event.get("level") in _KEPT_LEVELS and (name == OURS or name.startswith(OURS + ".")):
            fields = {key: value for key, value in event.items() if key not in _NOT_FIELDS}
            at, level = str(event.get("timestamp", "")), str(event["level"])
            self._ring.add(at, level, str(event.get("event", "")), fields)
        return event
