"""One exchange on its way through: plain calls both ways, and only requests are collected."""

from functools import partial
from typing import TYPE_CHECKING

import structlog

from shared.errors import ResetCode, TooBigError
from shared.grant import Grant
from shared.jsonrpc.envelope import Envelope, EnvelopeError
from shared.jsonrpc.results import EditError, Editor
from shared.link.driver import LinkDriver
from shared.wire.codec import encode_head
from shared.wire.limits import MAX_BODY_BYTES, MAX_INLINE_BYTES
from tunnel_client.asked import MAX_HELD_BYTES, READ, Asked, Forbids, passes_unread, reader
from tunnel_client.audit.calls import Call
from tunnel_client.gate import MAX_ASSEMBLING_BYTES, GateError, Head, admit
from tunnel_client.judge import Asks, Edit, Passed, Verdict
from tunnel_client.tally import Lane
from tunnel_client.upstream.base import (
    Exchange,
    Headers,
    Upstream,
    UpstreamRequest,
    is_event_stream,
)

if TYPE_CHECKING:
    from tunnel_client.bridge import Bridge

log = structlog.get_logger("tunnel_client.bridge")

NO_GRANT = "no living grant of the session"
UNRECORDED = "the call cannot be written down"


class Crossing:
    """One exchange: the stream's handler towards the relay, the upstream's Reply inwards."""

    __slots__ = (
        *("_assembled", "_body", "_bridge", "_call", "_driver", "_edit", "_editor", "_exchange"),
        *("_forbids", "_head", "_held", "_over", "_record", "_stream", "_upstream", "_waiting"),
        *("began", "grant", "lane", "outcome"),
    )

    def __init__(
        self,
        bridge: "Bridge",
        driver: LinkDriver,
        stream: int,
        head: Head,
        grant: Grant,
        upstream: Upstream,
    ) -> None:
        self.grant = grant
        self.lane: Lane | None = None
        self.began, self.outcome = 0.0, "ok"
        self._bridge = bridge
        self._driver = driver
        self._stream = stream
        self._head = head
        self._upstream = upstream
        self._exchange: Exchange | None = None
        self._record: Call | None = None
        self._forbids: Forbids | None = None
        self._call: Envelope | None = None
        self._edit: Edit | None = None
        self._editor: Editor | None = None
        self._body: list[bytes] = []
        self._assembled = self._held = 0
        self._over = False
        self._waiting: tuple[int, Headers] | None = None

    @property
    def session(self) -> str:
        """The public id of the session this exchange belongs to."""
        return self._head.open.session

    @property
    def place(self) -> tuple[bytes, int]:
        """Link and stream: the name of the call in records."""
        return self._driver.link.encode(), self._stream

    # StreamHandler: what the relay sends --------------------------------------------------------

    def on_head(self, head: bytes, end: bool) -> None:
        """Never called: the relay sends no response heads."""

    def on_response(self, head: bytes, body: bytes) -> None:
        """Never called: the relay sends no responses."""

    def on_data(self, data: bytes, end: bool) -> None:
        """Collect the request body, which is judged whole; then start."""
        self._driver.consumed(self._stream, len(data))
        if self._over or self._exchange is not None:
            return
        self._body.append(data)
        if end:
            body, self._body = b"".join(self._body), []
            # A body takes its time: what was granted at the head may be over, or less.
            grant = self._bridge.granted(self._head)
            if grant is None:
                self.fail(ResetCode.NO_GRANT, NO_GRANT)
            else:
                self.grant = grant
                self.start(body)
            return
        self._assembled += len(data)
        self._bridge.assembling += len(data)
        if self._assembled > MAX_BODY_BYTES:
            self.fail(ResetCode.TOO_LARGE, "request body over its limit")
        elif self._bridge.assembling > MAX_ASSEMBLING_BYTES:
            self.fail(ResetCode.REFUSED, "too many request bodies at once")

    def on_reset(self, code: ResetCode, detail: str) -> None:
        """The agent is gone, the session was cut or the link lost: stop the upstream's work."""
        exchange = self._exchange
        if not self._over:
            if self._record is not None:
                self._record.cut(code, lost=self._driver.lost)
            self.outcome = code.name.lower()
            self._settle()
            if exchange is not None:
                exchange.cancel()

    def on_writable(self) -> None:
        """The relay took bytes: the upstream may go on."""
        if self._exchange is not None:
            self._exchange.resume()

    # Reply: what the upstream answers -----------------------------------------------------------

    def head(self, status: int, headers: Headers, end: bool = False) -> None:
        """Answer with a status and headers; `end` says that no body follows."""
        if self._over:
            return
        self._waiting = (status, headers)
        if self._record is not None:
            self._record.head(status, headers, end)
        if status >= 400:
            self.outcome = "http_error"
        if self._edit is not None and not 200 <= status < 300:
            self._edit = None  # agents take no result from what is no success
        if end:
            self._whole(b"")
        else:
            # Most answers are whole in this turn of the loop: then head and body leave as one.
            self._driver.at_turn_end(self._send_head)

    def data(self, chunk: bytes, end: bool = False) -> bool:
        """Pass body bytes on; False asks to pause until `Exchange.resume`."""
        if self._over:
            return True
        if self._is_read and not (end and self._asks_nothing(chunk)):
            edited = self._edited(self._editor or self._reader(), chunk, end)
            if edited is None or not (edited or end):
                return True  # it was cut, or nothing is whole yet
            chunk = edited
        if self._record is not None:
            self._record.data(chunk, end)
        if self._waiting is not None:
            if end and len(chunk) <= MAX_INLINE_BYTES:
                self._whole(chunk)
                return True
            if not self._send_head():
                return True
        if end:
            self._settle()
        return self._driver.data(self._stream, chunk, end)

    def fail(self, code: ResetCode, detail: str) -> None:
        """End without an answer, or in the middle of one."""
        if not self._over:
            if self._record is not None:
                self._record.failed(code)
            else:
                self._refused(detail)
            self.outcome = code.name.lower()
            self._settle()
            self._driver.reset(self._stream, code, detail)

    def scrubbed(self, count: int) -> None:
        """Secrets were taken out of the answer."""
        if self._record is not None:
            self._record.hits += count

    # Inside -------------------------------------------------------------------------------------

    def start(self, body: bytes) -> None:
        """Judge the whole request and hand it to the upstream."""
        self._release()
        if len(body) > MAX_BODY_BYTES:
            self.fail(ResetCode.TOO_LARGE, "request body over its limit")
            return
        try:
            request = admit(self._head, body)
        except EnvelopeError as error:
            self._refused(error.message)
            answer = b"" if error.status == 202 else error.body()
            self.head(error.status, [(b"content-type", b"application/json")])
            self.data(answer, end=True)
        except GateError as error:
            log.error("refused what the relay sent", reason=str(error))
            self.fail(ResetCode.REFUSED, str(error))
        else:
            self._judge(request)

    def _judge(self, request: UpstreamRequest) -> None:
        """Let the private side have its say, then hand the request over."""
        request.user = self.grant.user
        self._bridge.tally.begin(self, self._upstream.name, request)
        try:
            verdict = self._bridge.judge.judge(self.grant, request)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no permission
            log.error("a request could not be judged", kind=type(error).__name__)
            self.fail(ResetCode.REFUSED, "the request could not be judged")
            return
        if isinstance(verdict, Passed):
            self._edit = verdict.edit
            self._hand_over(request, verdict)
        elif isinstance(verdict, Asks):
            self._ask(request, verdict)
        else:
            self._refused(verdict.why, request, verdict)
            self._bridge.tally.denied(self, self._upstream.name)
            self.head(verdict.status, [(b"content-type", b"application/json")])
            self.data(verdict.body, end=True)

    def _refused(
        self, why: str, request: UpstreamRequest | None = None, said: Verdict | None = None
    ) -> None:
        """Write down that nothing of this reaches the upstream."""
        self._record = self._bridge.calls.refused(
            self._driver.link, self._stream, why, self._head.open, self.grant, request, said
        )

    def _hand_over(
        self, request: UpstreamRequest, verdict: Passed | Asks, permit: str = ""
    ) -> None:
        """Write down what is about to happen, then let it."""
        record = self._record = self._bridge.calls.intend(self.grant, request, verdict, permit)
        if record is None:
            self.fail(ResetCode.REFUSED, UNRECORDED)
            return
        if record.recorded:
            self._bridge.calls.when_written(self._driver, record, self, request)
        else:
            self._dispatch(request)

    def recorded(self, request: UpstreamRequest, waited: bool, why: str | None) -> None:
        """Go on with a call whose intent is written down."""
        if self._over:
            return
        if why is not None:
            self.fail(ResetCode.REFUSED, UNRECORDED)
        elif waited and self._bridge.granted(self._head) is None:
            self.fail(ResetCode.NO_GRANT, NO_GRANT)
        else:
            self._dispatch(request)

    def _dispatch(self, request: UpstreamRequest) -> None:
        if self._record is not None:
            self._record.dispatched = True
        self._forbids = self._bridge.judge.forbids(self.grant, request)
        if self._forbids is not None:
            self._call = request.envelope
        exchange = self._upstream.open(request, self)
        if not self._over:
            self._exchange = exchange

    def _ask(self, request: UpstreamRequest, verdict: Asks) -> None:
        """Use up the permit that came along; without one say what it has to be for."""
        permit = self._head.open.permit
        if not permit:
            self._refused("a person has to permit it", request, verdict)
            self.fail(ResetCode.NEEDS_APPROVAL, verdict.detail())
            return
        desk = self._bridge.permits
        try:
            expected = verdict.expects(self.grant, request.body, desk.relay_key)
        except ValueError:
            self.fail(ResetCode.REFUSED, "arguments that have no one spelling")
            return
        desk.use(permit, expected, partial(self._permitted, request, verdict))

    def _permitted(self, request: UpstreamRequest, verdict: Asks, problem: str | None) -> None:
        """Go on with a call whose permit was used up, unless anything changed meanwhile."""
        if self._over:
            return
        grant = self._bridge.granted(self._head)
        if grant is None:
            self.fail(ResetCode.NO_GRANT, NO_GRANT)
        elif problem is None and verdict.same(self._bridge.judge.judge(grant, request)):
            self.grant = grant
            log.info("permit used", session=self.session[:8], tool=verdict.action.name)
            self._hand_over(request, verdict, self._head.open.permit)
        else:
            why = problem or "policy or tool changed"
            log.error("permit refused", session=self.session[:8], why=why)
            self.fail(ResetCode.NEEDS_APPROVAL, verdict.detail())

    @property
    def _is_read(self) -> bool:
        """Whether somebody has to see the answer before the agent does."""
        return self._edit is not None or self._forbids is not None

    def _asks_nothing(self, chunk: bytes) -> bool:
        """Tell whether a body that is whole may go on unread, as most may."""
        return self._editor is None and self._edit is None and passes_unread(chunk)

    def _reader(self) -> Editor:
        """Make what the answer has to pass through, before its head is sent."""
        asked = None
        if self._forbids is not None:
            facts = {"session": self.session[:8], "upstream": self._upstream.name}
            asked = Asked(self._forbids, self._call, facts, self._refuse)
        _, headers = self._waiting or (0, [])
        edit = self._edit or self._bridge.judge.lists(self.grant)
        needles = READ if self._edit is None else ()
        self._editor = reader(edit, asked, events=is_event_stream(headers), needles=needles)
        return self._editor

    def _edited(self, editor: Editor, chunk: bytes, end: bool) -> bytes | None:
        """Return what may go on of a response that is filtered; None when it cannot be judged."""
        try:
            edited = editor.rest(chunk) if end else editor.feed(chunk)
            self._count_held(editor.held)
            return edited
        except EditError as error:
            log.error("an answer that cannot be filtered", reason=str(error))
            self.cut(ResetCode.UPSTREAM_BROKE, str(error))
            return None

    def _count_held(self, held: int) -> None:
        self._bridge.held += held - self._held
        self._held = held
        if self._bridge.held > MAX_HELD_BYTES and held:
            raise EditError("too much waits to be judged")

    def _refuse(self, message_id: str | int) -> None:
        """Tell the upstream that what it asks of the agent is denied."""
        self._bridge.refusals.send(self._upstream, self._head.open, self.grant.user, message_id)

    def _whole(self, body: bytes) -> None:
        status, headers = self._waiting or (502, [])
        # The relay counts for itself; without lengths, heads repeat and can be remembered.
        kept = [pair for pair in headers if pair[0] != b"content-length"]
        payload = self._encode(status, kept)
        if payload is not None:
            self._settle()
            self._driver.respond(self._stream, payload, body)

    def _send_head(self) -> bool:
        """Send the head that waits; False when that ended the exchange."""
        if self._waiting is not None and not self._over:
            status, headers = self._waiting
            if self._is_read:  # nobody knows the length before the end
                if self._editor is None:
                    self._reader()
                headers = [pair for pair in headers if pair[0] != b"content-length"]
            payload = self._encode(status, headers)
            if payload is None:
                return False
            self._driver.head(self._stream, payload, False)
        return True

    def _encode(self, status: int, headers: Headers) -> bytes | None:
        self._waiting = None
        try:
            return encode_head(status, headers)
        except TooBigError as error:
            self.cut(ResetCode.TOO_LARGE, str(error))
            return None

    def cut(self, code: ResetCode, detail: str) -> None:
        """End at both sides now."""
        exchange = self._exchange
        if not self._over:
            self.fail(code, detail)
            if exchange is not None:
                exchange.cancel()

    def _settle(self) -> None:
        self._over = True
        if self._record is not None:
            self._record.over()
            self._record = None
        self._bridge.tally.end(self)
        # The exchange knows its reply, which is this: without a cut its body, megabytes of it,
        # would stay until a garbage collection, and those are rare.
        self._exchange = None
        # These know us too: every call would leave a circle behind for the collector.
        self._edit = self._forbids = self._editor = None
        self._release()
        self._bridge.crossings.discard(self)

    def _release(self) -> None:
        self._bridge.assembling -= self._assembled
        self._bridge.held -= self._held
        self._assembled = self._held = 0
