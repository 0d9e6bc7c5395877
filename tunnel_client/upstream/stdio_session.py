"""One legacy MCP session: one child of its own, and which stream its messages go out on.

stdio does not say to which request a message of the server relates, HTTP wants it on that
request's stream. Progress names its token; what else only makes sense within a call goes to the
newest open one; the rest goes to the GET stream. What finds no stream waits, within bounds.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

import structlog

from shared.errors import ResetCode
from shared.jsonrpc.envelope import INVALID_REQUEST, Envelope, Kind, error_body
from tunnel_client.upstream.base import Headers, Reply, UpstreamRequest
from tunnel_client.upstream.stdio_answers import (
    REQUEST_CANCELLED,
    NotJsonError,
    empty,
    header,
    one_line,
    read_message,
    refuse,
    refuse_busy,
    write_line,
)
from tunnel_client.upstream.stdio_call import Key, LegacyStream
from tunnel_client.upstream.stdio_command import StdioLimits
from tunnel_client.upstream.stdio_events import GET_LANE, EventLog
from tunnel_client.upstream.stdio_process import Child
from tunnel_client.upstream.stdio_remap import meta_of

SESSION_HEADER = b"mcp-session-id"
_NOBODY_LISTENS = -31504
_IN_A_CALL = frozenset({"notifications/progress", "notifications/message"})


class McpSession:
    """Carries messages between one child and the agent's streams; `name` is the relay's own id."""

    def __init__(
        self,
        name: str,
        session: str,
        limits: StdioLimits,
        log: structlog.typing.FilteringBoundLogger,
        now: float,
    ) -> None:
        self.name = name
        self.session = session
        self.last_used = now
        self.answered = False
        self.refused = False
        self.child: Child | None = None
        self.abandoned: Callable[[], None] = _nothing
        """Called when no agent waits any more for the answer that would begin it."""
        self._limits = limits
        self._log = log
        self._events = EventLog()
        self._calls: dict[Key, LegacyStream] = {}
        self._get: LegacyStream | None = None
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._stalled: set[LegacyStream] = set()
        self._initialize: LegacyStream | None = None

    @property
    def headers(self) -> Headers:
        """The header by which the agent names this MCP session."""
        return [(SESSION_HEADER, self.name.encode("latin-1"))]

    @property
    def is_used(self) -> bool:
        """Whether an agent waits for anything."""
        return self._get is not None or any(call.open for call in self._calls.values())

    @property
    def runs(self) -> bool:
        """Whether a call is under way, its agent there or not."""
        return bool(self._calls)

    def call(self, request: UpstreamRequest, envelope: Envelope, reply: Reply) -> LegacyStream:
        """Send a request to the child; the head of its answer waits for what comes first."""
        key = envelope.id
        stream = LegacyStream(
            self,
            reply,
            self.headers,
            self._events,
            lane=self._events.new_lane(),
            key=key,
            token=_token(envelope),
            primed=_primes(request, envelope),
            sent_at=self.last_used,
        )
        if key is None or key in self._calls:
            stream.open = False
            message = "Bad Request: this id is in use"
            refuse(reply, request, 400, INVALID_REQUEST, message, self.headers)
        elif self._is_full():
            stream.open = False
            refuse_busy(reply, request)
        else:
            self._calls[key] = stream
            if envelope.method == "initialize" and not self.answered:
                self._initialize = stream
            self._send(request.body)
            self._flush_queue()
        return stream

    def begin_silent(self, due: float) -> None:
        """Begin the streams of requests that were sent before `due` and heard nothing since."""
        for call in self._calls.values():
            # The head of `initialize` waits: only the answer tells whether there is a session.
            if call is not self._initialize:
                call.silent_until(due)

    def post(self, request: UpstreamRequest, envelope: Envelope, reply: Reply) -> None:
        """Send a notification or a response to the child."""
        if self._is_full():
            refuse_busy(reply, request)
            return
        empty(reply, 202, self.headers)
        self._send(request.body)
        if envelope.kind is Kind.NOTIFICATION and envelope.method == "notifications/cancelled":
            self._cancelled((envelope.params or {}).get("requestId"))

    def listen(self, request: UpstreamRequest, reply: Reply) -> LegacyStream:
        """Open the agent's GET stream, of which there is one, or resume a broken stream."""
        last = header(request, b"last-event-id")
        found = self._events.after(last) if last is not None else None
        if found is not None:
            return self._resume(reply, *found)
        stream = LegacyStream(self, reply, self.headers, self._events)
        if self._get is not None:
            stream.open = False
            message = "Conflict: Only one SSE stream is allowed per session"
            refuse(reply, request, 409, INVALID_REQUEST, message, self.headers)
        else:
            self._get = stream
            stream.begin()
            self._flush_queue()
        return stream

    def _resume(self, reply: Reply, lane: int, events: list[bytes]) -> LegacyStream:
        """Continue a lane: the stream it had is over, even if that was not noticed yet."""
        call = next((call for call in self._calls.values() if call.lane == lane), None)
        old = self._get if lane == GET_LANE else call
        stream = LegacyStream(
            self,
            reply,
            self.headers,
            self._events,
            lane=lane,
            key=None if call is None else call.key,
            token=None if call is None else call.token,
            primed=True,
        )
        if old is not None:
            old.end()
        if lane == GET_LANE:
            self._get = stream
        elif call is not None and call.key is not None:
            self._calls[call.key] = stream
            if self._initialize is call:
                self._initialize = stream
        stream.replay(events)
        if lane == GET_LANE:
            self._flush_queue()
        elif call is None:
            # Its answer is among the events, or lost; either way nothing follows.
            stream.end()
        return stream

    def end(self) -> None:
        """Close all streams and end the child politely."""
        for stream in self._all_streams():
            stream.end()
        if self.child is not None:
            self.child.stop()

    def cut(self, code: ResetCode, detail: str) -> None:
        """Fail all streams and end the child at once."""
        self._fail(code, detail)
        if self.child is not None:
            self.child.stop(fast=True)

    def child_ended(self, reason: str) -> None:
        """The child went away by itself."""
        get = self._get
        if get is not None:
            self._get = None
            get.end()
        self._fail(ResetCode.UPSTREAM_BROKE, reason)

    def line(self, line: bytes) -> None:
        """Take one line of the child."""
        try:
            message = read_message(line)
        except NotJsonError as error:
            self._note(f"line skipped: {error}")
            return
        line = one_line(line)
        if "method" not in message:
            self._answer(line, message)
            return
        stream = self._stream_for(message)
        if stream is not None:
            stream.message(line)
        else:
            self._keep(line, message)

    def stalled(self, stream: LegacyStream) -> None:
        """Hold the child back: it serves this agent alone."""
        self._stalled.add(stream)
        if self.child is not None:
            self.child.pause()

    def released(self, stream: LegacyStream) -> None:
        """Let the child go on when no stream holds it back."""
        if stream in self._stalled:
            self._stalled.discard(stream)
            if not self._stalled and self.child is not None:
                self.child.resume()

    def left(self, stream: LegacyStream) -> None:
        """Free the GET; a call stays known, so that its answer is kept for who resumes it.

        But for `initialize`: a child that nobody can name would keep its place for long.
        """
        if stream is self._get:
            self._get = None
        if not self.answered and not self.is_used:
            self.abandoned()

    def _answer(self, line: bytes, message: dict[str, Any]) -> None:
        key = message.get("id")
        stream = None
        if type(key) is str or type(key) is int:
            stream = self._calls.pop(key, None)
        if stream is None:
            self._note("answer without a known id dropped")
            return
        if stream is self._initialize:
            self._initialize = None
            self.answered = True
            self.refused = "error" in message
            if self.refused:
                stream.begin([])
        stream.message(line, end=True)
        if self.refused and self.child is not None:
            self.child.stop()

    def _stream_for(self, message: dict[str, Any]) -> LegacyStream | None:
        method = message["method"]
        if method == "notifications/progress":
            params = message.get("params")
            token = params.get("progressToken") if type(params) is dict else None
            for call in self._calls.values():
                if call.token == token and type(call.token) is type(token):
                    # Its agent may be gone, and come back.
                    return call
        newest = next((call for call in reversed(self._calls.values()) if call.open), None)
        if "id" in message or method in _IN_A_CALL:
            return newest or self._get
        return self._get or newest

    def _keep(self, line: bytes, message: dict[str, Any]) -> None:
        full = len(self._queue) >= self._limits.queued_messages
        if not full and self._queued_bytes + len(line) <= self._limits.queued_bytes:
            self._queue.append(line)
            self._queued_bytes += len(line)
        elif "id" in message and self.child is not None:
            if self.child.unsent > self._limits.unsent_bytes:
                # Each answer holds an id of its choice, so they would fill our memory.
                self.child.give_up("it asks on and does not read the answers")
                return
            # Left without an answer the server might wait for ever.
            error = {"code": _NOBODY_LISTENS, "message": "no agent is listening"}
            self.child.send(write_line({"jsonrpc": "2.0", "id": message["id"], "error": error}))
        else:
            self._note("message dropped: no agent is listening")

    def _flush_queue(self) -> None:
        waiting, self._queue = self._queue, deque()
        self._queued_bytes = 0
        for line in waiting:
            self.line(line)

    def _cancelled(self, key: object) -> None:
        """End a cancelled call's stream: over stdio the server leaves it unanswered."""
        if type(key) is not str and type(key) is not int:
            return
        stream = self._calls.get(key)
        if stream is not None and stream is not self._initialize:
            del self._calls[key]
            stream.message(error_body(key, REQUEST_CANCELLED, "Request cancelled"), end=True)

    def _fail(self, code: ResetCode, detail: str) -> None:
        for stream in self._all_streams():
            stream.fail(code, detail)

    def _all_streams(self) -> list[LegacyStream]:
        streams = [*self._calls.values(), *([self._get] if self._get is not None else [])]
        self._calls.clear()
        self._get = self._initialize = None
        return streams

    def _is_full(self) -> bool:
        unsent = self.child.unsent if self.child is not None else 0
        return len(self._calls) >= self._limits.in_flight or unsent > self._limits.unsent_bytes

    def _send(self, body: bytes) -> None:
        if self.child is not None:
            self.child.send(one_line(body))

    def _note(self, text: str) -> None:
        if self.child is not None:
            self.child.stderr.note(text, self.child.now())


def _nothing() -> None:
    """Nobody is told."""


def _token(envelope: Envelope) -> Key | None:
    token = meta_of(envelope.document).get("progressToken")
    return token if type(token) is str or type(token) is int else None


def _primes(request: UpstreamRequest, envelope: Envelope) -> bool:
    """Tell whether the agent understands an event without data (2025-11-25 and later)."""
    version: object = header(request, b"mcp-protocol-version")
    if envelope.method == "initialize":
        version = (envelope.params or {}).get("protocolVersion")
    return type(version) is str and version >= "2025-11-25"
