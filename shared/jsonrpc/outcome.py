"""Says what an answer came to while its bytes pass: the word that both ends' records have for it.

Nothing is held back and nothing is parsed unless a needle was seen: most answers cost a search.
What is said is the upstream's word: no decision rests on it.
"""

import re
from enum import StrEnum

from shared.jsonrpc.results import Document, Watcher

MAX_READ = 256 * 1024
"""Bytes of the largest message that is parsed; of larger ones the bytes are looked at."""
_SEAM = 32
"""How many bytes of `"isError" : true` may have come before the rest of it."""

_ERROR = b'"error"'
_IS_ERROR = b'"isError"'
_USUAL = b'"isError":false'
_ESCAPE = b"\\u00"
_NEEDLES = (_ERROR, _IS_ERROR, b"\\u006", b"\\u007", b"\\u0045")
"""One of them is in every spelling of `error` and `isError` as a name."""
_NOT_FALSE = re.compile(rb'"isError"[ \t\r\n]*+(?!:[ \t\r\n]*+false)')
_TRUE = re.compile(rb'"isError"[ \t\r\n]*+:[ \t\r\n]*+true')


class Outcome(StrEnum):
    """What a response says of the request."""

    OK = "ok"
    TOOL_ERROR = "tool_error"
    PROTOCOL_ERROR = "protocol_error"


def suspicious(data: bytes) -> bool:
    """Tell whether something in these bytes may say that a request failed.

    Many servers put `"isError": false` into every result: that says nothing.
    """
    if _ERROR in data:
        return True
    said = data.count(_IS_ERROR)
    if said and said != data.count(_USUAL) and _NOT_FALSE.search(data) is not None:
        return True
    return _ESCAPE in data and (b"\\u006" in data or b"\\u007" in data or b"\\u0045" in data)


def outcome_of(body: bytes, *, events: bool = False) -> Outcome:
    """Return what a whole body came to; `events`: it is an event stream."""
    if not (_ERROR in body or _IS_ERROR in body or _ESCAPE in body) or not suspicious(body):
        return Outcome.OK
    look = Look(events=events)
    look.feed(body)
    return look.end()


class Look:
    """Looks at an answer that comes in pieces; total. Of several that failed the last counts."""

    __slots__ = ("_events", "_guess", "_outcome", "_tail", "_watcher")

    def __init__(self, *, events: bool) -> None:
        self._events = events
        self._watcher: Watcher | None = None
        self._outcome = Outcome.OK
        self._guess = False
        self._tail = b""

    def feed(self, data: bytes) -> None:
        """Look at the next bytes."""
        watcher = self._watcher
        if watcher is None:
            if self._events and data.endswith(b"\n\n") and not suspicious(data):
                return  # whole events, as they mostly come
            watcher = self._watcher = Watcher(
                _NEEDLES, self._see, event_stream=self._events, limit=MAX_READ
            )
        watcher.feed(data)
        if not self._guess:
            # For a message that will be too large to be read; a seam is looked at for itself.
            seam = self._tail + data[:_SEAM]
            self._guess = _says_true(data) or _says_true(seam)
            self._tail = data[-_SEAM:] if len(data) >= _SEAM else seam[-_SEAM:]

    def end(self) -> Outcome:
        """Take the end of the answer; returns what it came to."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.end()
            if watcher.unseen and self._guess and self._outcome is Outcome.OK:
                return Outcome.TOOL_ERROR
        return self._outcome

    def _see(self, document: Document) -> None:
        result = document.get("result")
        if "error" in document:
            self._outcome = Outcome.PROTOCOL_ERROR
        elif isinstance(result, dict) and result.get("isError"):
            self._outcome = Outcome.TOOL_ERROR


def _says_true(data: bytes) -> bool:
    return _IS_ERROR in data and _TRUE.search(data) is not None
