"""One agent's call on its way through a link: the stream's bytes become the agent's response."""

from collections import deque
from typing import TYPE_CHECKING

from shared.errors import PeerError, ResetCode
from tunnel_relay.gateway import answers, cors
from tunnel_relay.gateway.responses import ResponseHead, read_head

if TYPE_CHECKING:
    from tunnel_relay.clients.registry import Link
    from tunnel_relay.gateway.call import Call
    from tunnel_relay.gateway.connection import AgentConnection
    from tunnel_relay.gateway.http import Gateway

COMMENT = b":\n\n"
DISCARD_SECONDS = 300.0
"""A legacy call runs on after its agent left (2025-11-25, transports), but not for ever."""
DISCARD_BYTES = 16 * 1024 * 1024
JOINED_BYTES = 1024

_BOUNDARIES = (b"\n\n", b"\r\n\r\n", b"\r\r")


class Exchange:
    """Carries one response; the link calls it with what comes, the connection when it moves.

    Bytes that the agent's connection does not take wait here, unacknowledged: credit goes back
    only for what was written, so at most one window of them can wait.
    """

    __slots__ = (
        "_chunks",
        "_connection",
        "_discarded",
        "_driver",
        "_ended",
        "_event_stream",
        "_gateway",
        "_head",
        "_link",
        "_orphaned_at",
        "_started",
        "_tail",
        "_whole",
        "call",
        "done",
        "last_data",
        "last_sent",
        "stream",
    )

    def __init__(
        self, gateway: "Gateway", call: "Call", link: "Link", connection: "AgentConnection"
    ) -> None:
        self._gateway = gateway
        self._link = link
        self._driver = link.driver
        self._connection: AgentConnection | None = connection
        self._chunks: deque[bytes] = deque()
        self._head: ResponseHead | None = None
        self._started = False
        self._whole = False
        self._ended = False
        self._event_stream = False
        self._tail = b""
        self._orphaned_at: float | None = None
        self._discarded = 0
        self.call = call
        self.done = False
        self.last_sent = self.last_data = 0.0
        self.stream = 0

    # StreamHandler ------------------------------------------------------------------------------

    def on_head(self, head: bytes, end: bool) -> None:
        """Take the response head; it leaves with the first bytes, or alone after this turn."""
        if not self._take_head(head):
            return
        if end:
            self._ended = True
            self._send(b"")
        else:
            self._driver.at_turn_end(self._send_head_alone)

    def on_response(self, head: bytes, body: bytes) -> None:
        """Pass a whole small response on."""
        if self._take_head(head):
            self._ended = self._whole = True
            self._send(body)

    def _take_head(self, payload: bytes) -> bool:
        try:
            self._head = read_head(payload)
        except PeerError:
            self._driver.reset(self.stream, ResetCode.PROTOCOL, "malformed head")
            self.on_reset(ResetCode.PROTOCOL, "")
            return False
        self._event_stream = self._head.event_stream
        if self.call.kept:
            self.call.kept = b""
            self._gateway.bodies.free(self.call.request)
        return True

    def on_data(self, data: bytes, end: bool) -> None:
        """Pass body bytes on, or keep them while the agent takes none."""
        if self._connection is None:
            self._discard(len(data), end)
            return
        self._ended = end
        if self._chunks or (self._connection.paused and self._started):
            self._keep(data)
        else:
            self._send(data)

    def _keep(self, data: bytes) -> None:
        # Small pieces are joined: each weighs many times what it holds.
        if self._chunks and len(self._chunks[-1]) + len(data) <= JOINED_BYTES:
            self._chunks[-1] += data
        else:
            self._chunks.append(data)

    def on_reset(self, code: ResetCode, detail: str) -> None:
        """End early; a response that was whole already stays whole."""
        if code is ResetCode.NO_GRANT:
            # The client let go of it; it gets another one before the next call.
            self._link.grants.forget(self.call.session.id)
        elif code is ResetCode.NEEDS_APPROVAL and self._head is None and self._connection:
            connection, self._connection = self._connection, None
            self._finish()
            self._gateway.asking.sent_back(self.call, connection, detail)
            return
        self._end_early(code)

    def _end_early(self, cause: answers.Cause) -> None:
        if self.done or self._ended:
            return
        connection, self._connection = self._connection, None
        self._finish()
        if connection is None:
            return
        if not self._started:
            connection.respond(answers.failed(cause, self.call.message_id))
        elif self._event_stream and self._at_event_boundary and not self._chunks:
            connection.write(self._last_event(cause), end=True)
        else:
            connection.break_off()

    def on_writable(self) -> None:
        """The link took most of the request's body."""
        if not self.call.kept:
            self._gateway.bodies.free(self.call.request)

    # The agent's connection ---------------------------------------------------------------------

    def connection_resumed(self) -> None:
        """The agent takes bytes again."""
        while self._chunks and self._connection is not None and not self._connection.paused:
            self._send(self._chunks.popleft())

    def connection_lost(self) -> None:
        """The agent is gone: cancel its call, unless its era says that it runs on."""
        self._connection = None
        if self.done:
            return
        if self.call.runs_on and not self._ended and self._gateway.may_run_on(self):
            self._orphaned_at = self._gateway.time()
            waiting = sum(map(len, self._chunks))
            self._chunks.clear()
            self._discard(waiting, False)
        else:
            self._cancel()

    # The gateway --------------------------------------------------------------------------------

    @property
    def orphaned(self) -> bool:
        """Does the call run on though its agent is gone?"""
        return self._orphaned_at is not None

    def in_use(self, since: float) -> bool:
        """Does it keep its session from being idle? An event stream does while events come."""
        return not self._event_stream or self.last_data >= since

    def sweep(self, now: float, comment_every: float) -> None:
        """Do what is due, about once a second; `now` is monotonic."""
        if self._orphaned_at is not None:
            if now - self._orphaned_at >= DISCARD_SECONDS:
                self._cancel()
        elif (
            self._event_stream
            and now - self.last_sent >= comment_every
            and self._connection is not None
            and not self._connection.paused
            and self._at_event_boundary
        ):
            self.last_sent = now
            self._connection.write(COMMENT, end=False)

    def cut(self, cause: answers.Cause = ResetCode.REVOKED) -> None:
        """End the call at once, at both ends."""
        if not self.done:
            self._driver.cut(self.stream, ResetCode.REVOKED, self.call.session.id)
            self._ended = False
            self._end_early(cause)

    # Inside -------------------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        connection = self._connection
        if connection is None or self._head is None:
            # An orphan's answer: nobody reads it.
            self._discard(0 if self._whole else len(data), self._ended)
            return
        end = self._ended and not self._chunks
        if end:
            self._connection = None
        if self._started:
            connection.write(data, end)
        else:
            self._started = True
            connection.start(self._head, self._extra(self._head), data, end)
        if self._event_stream:
            self.last_sent = self.last_data = self._gateway.time()
            self._tail = data[-4:] if len(data) >= 4 else (self._tail + data)[-4:]
        if not self._whole:
            self._driver.consumed(self.stream, len(data))
        if end:
            self._finish()

    def _send_head_alone(self) -> None:
        """The head came without a body: an SSE agent gets a first byte with it."""
        if self._started or self.done or self._connection is None or self._head is None:
            return
        self._started = True
        self.last_sent = self._gateway.time()
        first = COMMENT if self._event_stream else b""
        self._connection.start(self._head, self._extra(self._head), first, end=False)

    def _extra(self, head: ResponseHead) -> bytes:
        """Return the fields that are this call's own, as lines."""
        call = self.call
        lines = b""
        if call.initializes and head.mcp_session == call.mcp_session.encode():
            lines = b"mcp-session-id: %b\r\n" % head.mcp_session
        if call.request.fields:
            lines += b"".join(b"%b: %b\r\n" % pair for pair in cors.headers(call.request))
        return lines

    @property
    def _at_event_boundary(self) -> bool:
        return not self._tail or self._tail.endswith(_BOUNDARIES)

    def _last_event(self, cause: answers.Cause) -> bytes:
        message_id = self.call.message_id
        return b"" if message_id is None else answers.failure_event(cause, message_id)

    def _discard(self, count: int, end: bool) -> None:
        self._driver.consumed(self.stream, count)
        self._discarded += count
        if end:
            self._finish()
        elif self._discarded > DISCARD_BYTES:
            self._cancel()

    def _cancel(self) -> None:
        if not self._ended:
            self._driver.reset(self.stream, ResetCode.CANCELLED, "the agent went away")
        self._finish()

    def _finish(self) -> None:
        if not self.done:
            self.done = True
            self._chunks.clear()
            self._gateway.forget(self)
