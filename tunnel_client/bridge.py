"""Joins streams of a link to upstreams: one Crossing an exchange, plain calls both ways."""

from collections.abc import Mapping

import structlog

from shared.errors import PeerError, ResetCode, TooBigError
from shared.jsonrpc.envelope import EnvelopeError
from shared.link.driver import LinkDriver
from shared.wire.codec import OpenHead, decode_open, encode_head
from shared.wire.limits import MAX_BODY_BYTES, MIB
from tunnel_client.gate import GateError, admit
from tunnel_client.upstream.base import Exchange, Headers, Upstream

log = structlog.get_logger("tunnel_client.bridge")

MAX_ASSEMBLING_BYTES = 64 * MIB
"""Request bodies of one link that are still coming; beyond it streams are refused unsent."""


class Bridge:
    """Starts an exchange for every stream the relay opens; one instance a link."""

    def __init__(self, upstreams: Mapping[str, Upstream]) -> None:
        self._upstreams = upstreams
        self.assembling = 0
        self.crossings: set[Crossing] = set()

    def open(self, driver: LinkDriver, stream: int, payload: bytes, end: bool) -> "Crossing | None":
        """Take a stream in; None when it was refused."""
        try:
            head = decode_open(payload)
        except PeerError as error:
            log.error("malformed request head", reason=str(error))
            driver.reset(stream, ResetCode.PROTOCOL, str(error))
            return None
        upstream = self._upstreams.get(head.upstream)
        if upstream is None:
            driver.reset(stream, ResetCode.REFUSED, "no such upstream here")
            return None
        crossing = Crossing(self, driver, stream, head, upstream)
        self.crossings.add(crossing)
        if end:
            crossing.start()
        return crossing

    def end_session(self, session: str) -> int:
        """End every exchange of a session and what upstreams hold for it; returns how many."""
        ended = [crossing for crossing in self.crossings if crossing.session == session]
        for crossing in ended:
            crossing.cut(ResetCode.REVOKED, "the session was revoked")
        for upstream in self._upstreams.values():
            upstream.end_session(session)
        return len(ended)


class Crossing:
    """One exchange: the stream's handler towards the relay, the upstream's Reply inwards."""

    __slots__ = (
        "_assembled",
        "_body",
        "_bridge",
        "_driver",
        "_exchange",
        "_head",
        "_over",
        "_stream",
        "_upstream",
    )

    def __init__(
        self, bridge: Bridge, driver: LinkDriver, stream: int, head: OpenHead, upstream: Upstream
    ) -> None:
        self._bridge = bridge
        self._driver = driver
        self._stream = stream
        self._head = head
        self._upstream = upstream
        self._exchange: Exchange | None = None
        self._body: list[bytes] = []
        self._assembled = 0
        self._over = False

    @property
    def session(self) -> str:
        """The public id of the session this exchange belongs to."""
        return self._head.session

    # StreamHandler: what the relay sends --------------------------------------------------------

    def on_head(self, head: bytes, end: bool) -> None:
        """Never called: the relay sends no response heads."""

    def on_data(self, data: bytes, end: bool) -> None:
        """Collect the request body, which is judged whole; then start."""
        self._driver.consumed(self._stream, len(data))
        if self._over or self._exchange is not None:
            return
        self._body.append(data)
        if end:
            self.start()
            return
        self._assembled += len(data)
        self._bridge.assembling += len(data)
        if self._assembled > MAX_BODY_BYTES:
            self.fail(ResetCode.TOO_LARGE, "request body over its limit")
        elif self._bridge.assembling > MAX_ASSEMBLING_BYTES:
            self.fail(ResetCode.REFUSED, "too many request bodies at once")

    def on_reset(self, code: ResetCode, detail: str) -> None:
        """The agent is gone, the session was cut or the link lost: stop the upstream's work."""
        if not self._over:
            self._settle()
            if self._exchange is not None:
                self._exchange.cancel()

    def on_writable(self) -> None:
        """The relay took bytes: the upstream may go on."""
        if self._exchange is not None:
            self._exchange.resume()

    # Reply: what the upstream answers -----------------------------------------------------------

    def head(self, status: int, headers: Headers, end: bool = False) -> None:
        """Answer with a status and headers; `end` says that no body follows."""
        if self._over:
            return
        try:
            payload = encode_head(status, headers)
        except TooBigError as error:
            self.cut(ResetCode.TOO_LARGE, str(error))
            return
        if end:
            self._settle()
        self._driver.head(self._stream, payload, end)

    def data(self, chunk: bytes, end: bool = False) -> bool:
        """Pass body bytes on; False asks to pause until `Exchange.resume`."""
        if self._over:
            return True
        if end:
            self._settle()
        return self._driver.data(self._stream, chunk, end)

    def fail(self, code: ResetCode, detail: str) -> None:
        """End without an answer, or in the middle of one."""
        if not self._over:
            self._settle()
            self._driver.reset(self._stream, code, detail)

    # Inside -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Judge the whole request and hand it to the upstream."""
        body, self._body = b"".join(self._body), []
        self._release()
        if len(body) > MAX_BODY_BYTES:
            self.fail(ResetCode.TOO_LARGE, "request body over its limit")
            return
        try:
            request = admit(self._head, body)
        except EnvelopeError as error:
            answer = b"" if error.status == 202 else error.body()
            self.head(error.status, [(b"content-type", b"application/json")])
            self.data(answer, end=True)
        except GateError as error:
            log.error("refused what the relay sent", reason=str(error))
            self.fail(ResetCode.REFUSED, str(error))
        else:
            self._exchange = self._upstream.open(request, self)

    def cut(self, code: ResetCode, detail: str) -> None:
        """End at both sides now."""
        if not self._over:
            self.fail(code, detail)
            if self._exchange is not None:
                self._exchange.cancel()

    def _settle(self) -> None:
        self._over = True
        self._release()
        self._bridge.crossings.discard(self)

    def _release(self) -> None:
        self._bridge.assembling -= self._assembled
        self._assembled = 0
