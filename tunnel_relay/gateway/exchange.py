"""One agent's call on its way through a link: the stream's bytes become the agent's response."""

from collections import deque
from typing import TYPE_CHECKING

from shared.errors import NEVER_SENT, MisuseError, PeerError, ResetCode
from shared.jsonrpc.results import EditError, Editor, Reader
from tunnel_relay.gateway import answers, cors
from tunnel_relay.gateway.responses import ResponseHead, read_head
from tunnel_relay.gateway.tally import Lane

if TYPE_CHECKING:
    from tunnel_relay.audit.calls import Written
    from tunnel_relay.clients.link import Link
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
        *("_chunks", "_connection", "_discarded", "_driver", "_ended", "_event_stream", "_gateway"),
        *("_head", "_link", "_orphaned_at", "_owed", "_reader", "_settled", "_started"),
        *("_tail", "began", "call", "cause", "done", "lane", "last_data"),
        *("last_sent", "stream", "written"),
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
        self._reader: Reader | None = None
        # Credit does not go by the bytes that are sent: all came at once, or other ones came.
        self._settled = False
        self._owed = 0
        self._ended = False
        self._event_stream = False
        self._tail = b""
        self._orphaned_at: float | None = None
        self._discarded = 0
        self.call = call
        self.cause: answers.Cause | None = None
        self.began = 0.0
        self.lane: Lane = {}
        self.done = False
        self.last_sent = self.last_data = 0.0
        self.stream = 0
        self.written: Written | None = None
        """What records the end of the call."""

    def open(self, head: bytes, body: bytes) -> None:
        """Open the stream: from now on the upstream may see the call."""
        try:
            self.stream = self._driver.request(head, body, self)
        except MisuseError:
            self.unsent(ResetCode.REFUSED)

    def begin(self, head: bytes) -> None:
        """Open the stream and keep the body back: without it the client can do nothing."""
        try:
            self.stream = self._driver.begin(head, self)
        except MisuseError:
            self.unsent(ResetCode.REFUSED)

    def go_on(self, body: bytes, why: str | None) -> None:
        """Let the body follow, unless the intent could not be made durable: `why`."""
        if self.done:
            return
        if why is None:
            self._driver.go_on(self.stream, body)
        else:
            self._driver.reset(self.stream, ResetCode.REFUSED, "it cannot be written down")
            self.unsent(None)

    def unsent(self, cause: ResetCode | None) -> None:
        """End a call that nobody was handed; None: because it could not be written down."""
        if self.done:
            return
        self.cause = cause or ResetCode.REFUSED
        if self.written is not None:
            self.written.failed(self.cause)
        self._gateway.binding.give_back(self.call)
        connection, self._connection = self._connection, None
        self._finish()
        if connection is not None:
            asked = self.call.message_id
            answer = answers.unrecorded(asked) if cause is None else answers.failed(cause, asked)
            connection.respond(answer)

    # StreamHandler ------------------------------------------------------------------------------

    def on_head(self, head: bytes, end: bool) -> None:
        """Take the response head; it leaves with the first bytes, or alone after this turn."""
        if not self._take_head(head):
            return
        if end:
            self._ended = True
            self._send(b"")
        elif self._read_body():
            self._driver.at_turn_end(self._send_head_alone)

    def _read_body(self) -> bool:
        """Let a reader look at the body, if one has to; returns whether the head may go ahead."""
        call, head = self.call, self._head
        if not call.is_read or head is None:
            return True
        reader = self._reader = self._gateway.binding.reader(call, head)
        if not isinstance(reader, Editor):
            return True
        self._settled = True
        self._head = head._replace(length=None)  # nobody knows it before the end
        # A JSON body that must not pass can then still be answered with an error.
        return self._event_stream

    def on_response(self, head: bytes, body: bytes) -> None:
        """Pass a whole small response on."""
        if not self._take_head(head) or self._head is None:
            return
        if self.call.is_read:
            try:
                body = self._gateway.binding.whole(self.call, self._head, body)
            except EditError:
                self._end_early(ResetCode.PROTOCOL)
                return
        self._ended = self._settled = True
        self._send(body)

    def _take_head(self, payload: bytes) -> bool:
        try:
            self._head = read_head(payload)
        except PeerError:
            self._driver.reset(self.stream, ResetCode.PROTOCOL, "malformed head")
            self.on_reset(ResetCode.PROTOCOL, "")
            return False
        self._event_stream = self._head.event_stream
        if self.call.body:
            self.call.sent()
            self._gateway.bodies.free(self.call.request)
        return True

    def on_data(self, data: bytes, end: bool) -> None:
        """Pass body bytes on, or keep them while the agent takes none."""
        if self._connection is None:
            self._discard(len(data), end)
            return
        if self._reader is not None:
            passed = self._pass(self._reader, data, end)
            if passed is None:
                return
            data = passed
        self._ended = end
        if self._chunks or (self._connection.paused and self._started):
            self._keep(data)
        else:
            self._send(data)

    def _pass(self, reader: Reader, data: bytes, end: bool) -> bytes | None:
        """Return what goes on of the bytes that came, None for nothing now."""
        try:
            passed = reader.feed(data)
            if end:
                passed += reader.end()
                self._gateway.binding.ended(self.call, reader)
        except EditError as error:
            self._driver.reset(self.stream, ResetCode.PROTOCOL, str(error))
            self._end_early(ResetCode.PROTOCOL)
            return None
        if self._settled:
            self._owed += len(data)
            if not passed and not end:
                self._pay()  # the reader holds it, and no more than its limit
                return None
        return passed

    def _pay(self) -> None:
        """Give credit back for what came, once nothing made of it waits for the agent."""
        if self._owed and not self._chunks:
            self._driver.consumed(self.stream, self._owed)
            self._owed = 0

    def _keep(self, data: bytes) -> None:
        # Small pieces are joined: each weighs many times what it holds.
        if self._chunks and len(self._chunks[-1]) + len(data) <= JOINED_BYTES:
            self._chunks[-1] += data
        else:
            self._chunks.append(data)

    def on_reset(self, code: ResetCode, detail: str) -> None:
        """End early; a response that was whole already stays whole."""
        self._link.refused(code, self.call.session)
        if code is ResetCode.NEEDS_APPROVAL and self._connection is not None:
            self._ask(self._connection, detail)
            return
        self._end_early(answers.Cut.LINK_LOST if self._driver.lost else code)

    def _ask(self, connection: "AgentConnection", detail: str) -> None:
        """A person has to permit this call first: the agent hears so, and where."""
        if self._started:
            self._end_early(ResetCode.PROTOCOL)  # its answer began: it was asked for too late
            return
        if self.done:
            return
        self._gateway.binding.give_back(self.call)
        self.cause = ResetCode.NEEDS_APPROVAL
        self._connection = None
        if self.written is not None:
            self.written.failed(ResetCode.NEEDS_APPROVAL)
        self._finish()
        self._gateway.waiting.ask(self.call, connection, detail, self._link)

    def _end_early(self, cause: answers.Cause) -> None:
        if self.done or self._ended:
            return
        self.cause = cause
        if self.written is not None:
            self.written.failed(cause)
        if cause in NEVER_SENT:
            self._gateway.binding.give_back(self.call)
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
        if not self.call.body:
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
            waiting = self._owed if self._settled else sum(map(len, self._chunks))
            self._chunks.clear()
            self._discard(waiting, False)
        else:
            self._cancel()

    # The gateway --------------------------------------------------------------------------------

    @property
    def outcome(self) -> str:
        """How the call ended, in one of a few words; errors inside an answer are not looked for."""
        if self.cause is not None:
            return self.cause.name.lower()
        return "ok" if self._head is None or self._head.status < 400 else "http_error"

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
        elif now - self.last_sent >= comment_every and self.say(COMMENT):
            self.last_sent = now

    def say(self, line: bytes) -> bool:
        """Send a line of our own between two events; False when that cannot be done now."""
        connection = self._connection
        if connection is None or connection.paused or self._chunks or not self._started:
            return False
        if not self._event_stream or not self._at_event_boundary:
            return False
        connection.write(line, end=False)
        return True

    def cut(self, cause: answers.Cause = ResetCode.REVOKED) -> None:
        """End the call at once, at both ends."""
        if not self.done:
            code = ResetCode.CANCELLED if cause is answers.Cut.STOPPING else ResetCode.REVOKED
            self._driver.cut(self.stream, code, self.call.session.id)
            self._ended = False
            self._end_early(cause)

    # Inside -------------------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        connection = self._connection
        if connection is None or self._head is None:
            # An orphan's answer: nobody reads it.
            self._discard(0 if self._settled else len(data), self._ended)
            return
        end = self._ended and not self._chunks
        if end:
            self._connection = None
        if self._started:
            connection.write(data, end)
        else:
            self._started = True
            connection.start(self._head, self._extra(self._head), data, end)
        if self.written is not None:
            self.written.data(data, end, self._head.status, self._event_stream)
        if self._event_stream:
            self.last_sent = self.last_data = self._gateway.time()
            self._tail = data[-4:] if len(data) >= 4 else (self._tail + data)[-4:]
        if self._settled:
            self._pay()
        else:
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
            self.cause = ResetCode.CANCELLED
            if self.written is not None:
                self.written.failed(ResetCode.CANCELLED)
        # Also where all of it came: what was not written holds the stream, and credit of the link.
        self._driver.reset(self.stream, ResetCode.CANCELLED, "the agent went away")
        self._finish()

    def _finish(self) -> None:
        if not self.done:
            self.done = True
            self._chunks.clear()
            self._gateway.forget(self)
            if self.written is not None:
                self.written.over(0 if self._head is None else self._head.status)
