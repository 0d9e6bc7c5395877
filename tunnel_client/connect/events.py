"""Reads server-sent events as their bytes come (HTML standard, section 9.2). Sans-I/O."""

from typing import NamedTuple

from shared.errors import PeerError

MAX_EVENT = 64 * 1024 * 1024
"""Bytes: what the largest line to an agent may be."""
SHORTEST_PAUSE = 0.1
LONGEST_PAUSE = 30.0
_MAX_RETRY_DIGITS = 9
_LINE_COST = 64
"""Bytes that keeping a line costs beside what is in it."""


class EventTooLargeError(PeerError):
    """The stream holds an event larger than we pass on."""


class Event(NamedTuple):
    """One event; `id` is None when it set none, `retry` is in milliseconds."""

    name: str
    data: bytes
    id: str | None
    retry: int | None

    @property
    def pause(self) -> float | None:
        """Seconds to wait before the stream is asked for again, if the event says so.

        Never none at all: a stream that ends at once would be asked for without end.
        """
        if self.retry is None:
            return None
        return min(max(self.retry / 1000, SHORTEST_PAUSE), LONGEST_PAUSE)


class EventReader:
    """Takes chunks, gives whole events; a comment gives nothing."""

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._searched = 0
        self._first = True
        self._size = 0
        self._data: list[bytes] = []
        self._name = ""
        self._id: str | None = None
        self._retry: int | None = None

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that are whole now; raises EventTooLargeError."""
        self._rest += chunk
        found = []
        while (line := self._line()) is not None:
            self._size += len(line) + _LINE_COST
            event = self._take(line)
            if event is not None:
                found.append(event)
        if self._size + len(self._rest) > self._limit:
            raise EventTooLargeError("an event is too large")
        return found

    def _line(self) -> bytes | None:
        rest = self._rest
        while True:
            end = _line_end(rest, self._searched)
            if end < 0:
                self._searched = len(rest)
                return None
            after = end + 1
            if rest[end] == 0x0D:
                if after == len(rest):  # the line feed may come with the next chunk
                    self._searched = end
                    return None
                after += rest[after] == 0x0A
            line = bytes(rest[:end])
            del rest[:after]
            self._searched = 0
            if self._first:
                self._first = False
                line = line.removeprefix(b"\xef\xbb\xbf")
            return line

    def _take(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._name = value.decode(errors="replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode(errors="replace")
        elif name == b"retry" and value.isdigit() and len(value) <= _MAX_RETRY_DIGITS:
            self._retry = int(value)
        return None

    def _dispatch(self) -> Event | None:
        event = Event(self._name, b"\n".join(self._data), self._id, self._retry)
        said = bool(self._data) or self._id is not None or self._retry is not None
        self._clear()
        return event if said else None

    def _clear(self) -> None:
        self._size, self._data, self._name = 0, [], ""
        self._id = self._retry = None


def _line_end(rest: bytearray, start: int) -> int:
    feed = rest.find(b"\n", start)
    back = rest.find(b"\r", start, len(rest) if feed < 0 else feed)
    return feed if back < 0 else back
