"""The event streams of one legacy MCP session: one for each request, and the agent's GET."""

from typing import Protocol

from shared.errors import ResetCode
from shared.wire.limits import KIB
from tunnel_client.upstream.base import Headers, Reply
from tunnel_client.upstream.stdio_answers import EVENT_STREAM, answer
from tunnel_client.upstream.stdio_events import GET_LANE, EventLog

Key = str | int
LARGEST_EVENT = 512 * KIB
"""A larger answer is JSON when nothing else was said before: agents made with the Python SDK
refuse an event above 1 MiB, and such an event would push all others out of the log."""


class Gate(Protocol):
    """What a stream tells its MCP session."""

    def stalled(self, stream: "LegacyStream") -> None:
        """The agent does not read: no more lines of the child, please."""

    def released(self, stream: "LegacyStream") -> None:
        """The agent reads again, or is gone."""

    def left(self, stream: "LegacyStream") -> None:
        """Nobody waits for this stream any more."""


class LegacyStream:
    """An open answer; `key` is the id of the request, None for the GET.

    Its form is decided by what comes first: a large answer alone is JSON, all else a stream. What
    comes while nobody reads goes to the log only, from where a later GET can fetch it.
    """

    __slots__ = ("_begun", "_gate", "_headers", "_log", "_primed", "key", "lane", "open", "reply",
                 "sent_at", "token")  # fmt: skip

    def __init__(
        self,
        gate: Gate,
        reply: Reply,
        headers: Headers,
        log: EventLog,
        *,
        lane: int = GET_LANE,
        key: Key | None = None,
        token: Key | None = None,
        primed: bool = False,
        sent_at: float = 0.0,
    ) -> None:
        self._gate = gate
        self._headers = headers
        self._log = log
        self._primed = primed
        self._begun = False
        self.reply = reply
        self.lane = lane
        self.key = key
        self.token = token
        self.sent_at = sent_at
        self.open = True

    def begin(self, headers: Headers | None = None) -> None:
        """Send a stream's head, with other headers if given, and what primes the agent; once."""
        if not self._begun:
            self._begun = True
            more = self._headers if headers is None else headers
            self.reply.head(200, [*EVENT_STREAM, *more])
            if self._primed:
                self._write(self._log.prime(self.lane), end=False)

    def replay(self, events: list[bytes]) -> None:
        """Begin with what an earlier stream of the same lane could not deliver."""
        self.begin()
        for each in events:
            if self.open:
                self._write(each, end=False)

    def message(self, line: bytes, end: bool = False) -> None:
        """Pass one message on, or keep it for an agent that comes back."""
        event = self._log.add(self.lane, line)
        if not self.open:
            return
        if end and not self._begun and len(line) > LARGEST_EVENT:
            self._begun = True
            self._close()
            answer(self.reply, 200, line, self._headers)
            return
        self.begin()
        self._write(event, end)

    def silent_until(self, due: float) -> None:
        """Begin the stream of a request that was sent before `due` and not answered since."""
        if self.open and self.sent_at < due:
            self.begin()

    def end(self) -> None:
        """Close the stream, as a server does that has nothing more to say."""
        if self.open:
            self.begin()
            self._write(b"", end=True)

    def fail(self, code: ResetCode, detail: str) -> None:
        """End without an answer."""
        if self.open:
            self._close()
            self.reply.fail(code, detail)

    def resume(self) -> None:
        """The reply takes data again."""
        self._gate.released(self)

    def cancel(self) -> None:
        """The agent went away. In this era that stops no call: only the answer is dropped."""
        if self.open:
            self._close()
            self._gate.left(self)

    def _write(self, chunk: bytes, end: bool) -> None:
        if end:
            self._close()
        if not self.reply.data(chunk, end) and not end:
            self._gate.stalled(self)

    def _close(self) -> None:
        self.open = False
        self._gate.released(self)
