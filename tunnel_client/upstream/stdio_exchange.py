"""One exchange of the modern era: when its answer is JSON, when a stream, and who may stall it."""

from collections import deque
from typing import Protocol

from shared.errors import ResetCode
from tunnel_client.upstream.base import Reply, UpstreamRequest
from tunnel_client.upstream.stdio_answers import (
    EVENT_STREAM,
    PING,
    answer,
    event,
)
from tunnel_client.upstream.stdio_remap import Mapping

ERROR_STATUS = {
    -32700: 400,
    -32600: 400,
    -32602: 400,
    -32020: 400,
    -32021: 400,
    -32022: 400,
    -32601: 404,
}
"""HTTP status of a JSON-RPC error that comes first; any other is 200, as in the Python SDK 2.3.

The spec demands those of -32601, -32020, -32021 and -32022 (2026-07-28, Streamable HTTP)."""


class Owner(Protocol):
    """Whoever keeps the table of exchanges."""

    def abandon(self, exchange: "ModernExchange") -> None:
        """Nobody takes the rest of this answer: have the child stop."""


class ModernExchange:
    """From the request to the end of its answer; `session` is the relay's.

    `mapping` is None until the request was written to the child.
    """

    __slots__ = (
        "_committed",
        "_kept",
        "_kept_bytes",
        "_limit",
        "_owner",
        "_paused",
        "done",
        "logs",
        "mapping",
        "reply",
        "request",
        "sent_at",
        "session",
    )

    def __init__(self, owner: Owner, request: UpstreamRequest, reply: Reply, limit: int) -> None:
        self._owner = owner
        self._limit = limit
        self._committed = False
        self._paused = False
        self._kept: deque[tuple[bytes, bool]] = deque()
        self._kept_bytes = 0
        self.request = request
        self.reply = reply
        self.session = request.session
        self.mapping: Mapping | None = None
        self.sent_at = 0.0
        self.logs = False
        self.done = False

    def resume(self) -> None:
        """Pass on what was kept."""
        self._paused = False
        while self._kept and not self._paused:
            chunk, end = self._kept.popleft()
            self._kept_bytes -= len(chunk)
            self._pass_on(chunk, end)

    def cancel(self) -> None:
        """Have the child stop; a message that comes all the same is dropped."""
        self._kept.clear()
        if not self.done:
            self.done = True
            self._owner.abandon(self)

    def message(self, line: bytes) -> None:
        """Pass on a notification for this request, which makes the answer a stream."""
        if not self.done:
            self._commit()
            self._write(event(line))

    def result(self, line: bytes, code: int | None) -> None:
        """Pass on the result or, with its `code`, the error: the end of the answer."""
        if self.done:
            return
        self.done = True
        if self._committed:
            self._write(event(line), end=True)
        else:
            status = 200 if code is None else ERROR_STATUS.get(code, 200)
            answer(self.reply, status, line)

    def close(self) -> None:
        """End a stream without a result; an answer that has not begun fails instead."""
        if self.done:
            return
        if self._committed:
            self.done = True
            self._write(b"", end=True)
        else:
            self.fail(ResetCode.UPSTREAM_BROKE, "the server gave up this request")

    def fail(self, code: ResetCode, detail: str) -> None:
        """End without a result."""
        self._kept.clear()
        if not self.done:
            self.done = True
            self.reply.fail(code, detail)

    def silent_until(self, due: float) -> None:
        """Begin a stream when nothing was answered to a request sent before `due`."""
        if not self.done and not self._committed and self.sent_at < due:
            self._commit()
            self._write(PING)

    def _commit(self) -> None:
        if not self._committed:
            self._committed = True
            self.reply.head(200, list(EVENT_STREAM))

    def _write(self, chunk: bytes, end: bool = False) -> None:
        if not self._paused:
            self._pass_on(chunk, end)
            return
        self._kept.append((chunk, end))
        self._kept_bytes += len(chunk)
        # The end is always kept: nothing can follow it.
        if self._kept_bytes > self._limit and not end:
            self._kept.clear()
            self.done = True
            self._owner.abandon(self)
            self.reply.fail(ResetCode.STALLED, "the agent did not read what the server sent")

    def _pass_on(self, chunk: bytes, end: bool) -> None:
        if not self.reply.data(chunk, end) and not end:
            self._paused = True
