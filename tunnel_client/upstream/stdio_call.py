"""The event streams of one legacy MCP session: one for each request, and the agent's GET."""

from typing import Protocol

from shared.errors import ResetCode
from tunnel_client.upstream.base import Headers, Reply
from tunnel_client.upstream.stdio_answers import EVENT_STREAM, event

Key = str | int


class Gate(Protocol):
    """What a stream tells its MCP session."""

    def stalled(self, stream: "LegacyStream") -> None:
        """The agent does not read: no more lines of the child, please."""

    def released(self, stream: "LegacyStream") -> None:
        """The agent reads again, or is gone."""

    def left(self, stream: "LegacyStream") -> None:
        """Nobody waits for this stream any more."""


class LegacyStream:
    """An open answer in event-stream form; `key` is the id of the request, None for the GET."""

    __slots__ = ("_begun", "_gate", "_headers", "key", "open", "reply", "token")

    def __init__(
        self,
        gate: Gate,
        reply: Reply,
        headers: Headers,
        key: Key | None = None,
        token: Key | None = None,
    ) -> None:
        self._gate = gate
        self._headers = [*EVENT_STREAM, *headers]
        self._begun = False
        self.reply = reply
        self.key = key
        self.token = token
        self.open = True

    def begin(self, headers: Headers | None = None) -> None:
        """Send the head, with other headers if given; once."""
        if not self._begun:
            self._begun = True
            self.reply.head(200, self._headers if headers is None else [*EVENT_STREAM, *headers])

    def message(self, line: bytes, end: bool = False) -> None:
        """Pass one message on."""
        if self.open:
            self.begin()
            self._write(event(line), end)

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
        """The agent went away. In this era that stops no work: only the answer is dropped."""
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
