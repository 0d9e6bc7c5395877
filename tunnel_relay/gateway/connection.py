"""One agent's HTTP/1.1 connection: requests in, responses out, on plain callbacks.

The MCP endpoint is served here without ASGI: a task, two awaits and two writes a call cost more
than all the checks together. Anything else (`/tunnel/enroll`, health pages, the upgrade of a link)
is handed to uvicorn's own protocols, one request a connection.

Requests on one connection are served one after the other. An agent that sends the next one before
it has its answer (pipelining, which no MCP client does) gets the answer and a closed connection.
Trailers are dropped (RFC 9110 section 6.5.1): nobody judges them.
"""

import asyncio
from typing import TYPE_CHECKING, Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.link.reading import Reader
from shared.repeated import RepeatedHead
from tunnel_relay.gateway import answers, handover, patience
from tunnel_relay.gateway.answers import Answer
from tunnel_relay.gateway.checks import Known, Request
from tunnel_relay.gateway.responses import MALFORMED, Response, ResponseHead, own_head, peer_of

if TYPE_CHECKING:
    from tunnel_relay.audit.refusals import About
    from tunnel_relay.gateway.http import Gateway


class AgentConnection(Reader):
    """One connection; made by uvicorn's server for every accepted socket."""

    __slots__ = (
        "_agents",
        "_body",
        "_chunked",
        "_config",
        "_deaf",
        "_fed",
        "_fresh",
        "_gateway",
        "_head_bytes",
        "_known",
        "_left",
        "_links",
        "_parser",
        "_refused",
        "_request",
        "_server_state",
        "_size",
        "close_after",
        "deadline",
        "exchange",
        "paused",
        "transport",
    )

    def __init__(
        self,
        gateway: "Gateway",
        config: Any,
        server_state: Any,
        *,
        agents: bool = True,
        links: bool = True,
    ) -> None:
        self._gateway = gateway
        self._agents, self._links = agents, links
        self._config = config
        self._server_state = server_state
        self._parser = httptools.HttpRequestParser(self)
        self._request: Request | None = None
        self._known: Known | None = None
        self._head_bytes = self._fed = 0
        self._fresh: bytes | memoryview = b""
        """What one read brought, when it began with a request."""
        # One buffer: a list of small pieces would weigh many times what they do.
        self._body = bytearray()
        self._size = 0
        self._deaf = self._refused = self.close_after = False
        self._chunked, self._left = False, 0
        self.exchange: Response | None = None
        self.paused, self.deadline = False, 0.0
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)

    # asyncio.Protocol ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the deadline of the first head."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=patience.WRITE_HIGH_WATER)
        self._server_state.connections.add(self)
        self._gateway.connections.add(self)
        self.close_after = self._gateway.draining  # not before: agreeing on TLS takes a while
        self.deadline = self._gateway.time() + patience.HEAD_SECONDS

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the exchange that its agent is gone."""
        self._server_state.connections.discard(self)
        self._gateway.connections.discard(self)
        self._gateway.bodies.free(self._request)
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.connection_lost()
        self._parser, self.transport = handover.SPENT

    def data_received(self, data: bytes | memoryview) -> None:
        """Parse; bytes that come before the answer is out are not a request we wait for."""
        if self._deaf:
            return
        exchange = self.exchange
        if exchange is not None or self.paused:
            self.close_after = True
            if exchange is None:
                self._close()
            return
        if self._request is None:
            known = self._known
            if known is not None and self._gateway.serve_repeated(known, data, self):
                return
            self._fresh = data if len(data) <= patience.SMALL_BYTES else b""
        self._fed = len(data)
        self._head_bytes += self._fed
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserUpgrade, httptools.HttpParserError) as error:
            if self.exchange is not None:
                self.close_after = True
            elif isinstance(error, httptools.HttpParserUpgrade):
                self._upgrade()
            else:
                self._fail(MALFORMED)
            return
        finally:
            self._fresh = b""
        request = self._request
        if self._body and request is not None and request.hot:  # more of it is to come
            refused = self._gateway.bodies.pay(request, self._size)
            if refused is not None:
                self._refuse(refused)
        if self._head_bytes > patience.HEAD_BYTES and self.exchange is None:
            self._fail(answers.HEADERS_TOO_LARGE)

    def pause_writing(self) -> None:
        """The agent reads more slowly than we write: it gets some time to go on."""
        self.paused = True
        self.deadline = self._gateway.time() + patience.STALL_SECONDS

    def resume_writing(self) -> None:
        """It went on."""
        self.paused = False
        if self.exchange is not None:
            self.deadline = 0.0
            self.exchange.connection_resumed()
        else:
            self.deadline = self._gateway.time() + patience.IDLE_SECONDS

    # httptools callbacks ------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        self._request = Request(peer_of(self.transport))
        self._size = 0
        self._head_bytes = max(self._head_bytes, self._fed)
        self._refused = self.exchange is not None or self.paused
        if self._refused:
            self.close_after = True
        else:
            self.deadline = self._gateway.time() + patience.HEAD_SECONDS

    def on_url(self, url: bytes) -> None:
        """Part of the request target."""
        if self._request is not None:
            self._request.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field; white space around a value is no part of it (RFC 9110 section 5.5)."""
        request = self._request
        if request is None or request.complete:
            return
        name, value = name.lower(), value.strip(b" \t")
        if name == b"content-length":
            request.length = value if request.length is None else b"twice"
        else:
            request.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Judge the head before the body is read."""
        request = self._request
        if request is None or self._refused:
            return
        parser = self._parser
        request.complete = True
        request.method = parser.get_method()
        request.head_bytes, self._head_bytes = self._head_bytes, 0
        if not parser.should_keep_alive():
            self.close_after = True
        if parser.should_upgrade():
            return
        self.deadline = self._gateway.time() + patience.BODY_SECONDS
        if not request.allowed(self._agents, self._links):
            self._refuse(answers.NOT_FOUND)
            return
        if request.hot:
            refused = self._gateway.judge(request, self._known)
            self._known = request.known
            if refused is not None:
                self._refuse(refused)
                return
        if b"expect" in request.fields and parser.get_http_version() == "1.1":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Collect the body within its bounds."""
        self._head_bytes = 0
        self._size += len(body)
        request = self._request
        limit = patience.COLD_BODY_BYTES
        if request is not None and request.hot:
            limit = self._gateway.edge.body_bytes
        if self._size > limit:
            if not self._refused:
                self._refuse(answers.BODY_TOO_LARGE)
            self._close_linger()
        elif not self._refused:
            self._body += body

    def on_message_complete(self) -> None:
        """Serve the request, or go on after a refusal."""
        if self._parser.should_upgrade():
            return
        request, self._request = self._request, None
        self._head_bytes = 0
        if self.exchange is not None or request is None:
            return
        if self._refused:
            self._finished()
            return
        self.deadline = 0.0
        request.body, self._body = bytes(self._body), bytearray()
        known = request.known
        if known is not None and known.repeated is None and not self.close_after:
            known.repeated = RepeatedHead.of(bytes(self._fresh), request.body)
        if request.hot:
            self._gateway.serve(request, self)
        else:
            cold = HttpToolsProtocol(self._config, self._server_state, {})
            self._hand_over(handover.page_request(request), cold)

    # Responses ----------------------------------------------------------------------------------

    def respond(self, answer: Answer, about: "About" = None) -> None:
        """Send a whole answer of the relay's own, to a request of which no stream was opened."""
        self._gateway.refused(answer, about, self.transport)
        self.start(own_head(answer), b"", answer.body, end=True)

    def start(self, head: ResponseHead, extra: bytes, body: bytes, end: bool) -> None:
        """Send the head, further header lines and the first body bytes; `end`: these are all."""
        transport = self.transport
        if transport.is_closing():
            return
        tail = b"connection: close\r\n\r\n" if self.close_after else b"\r\n"
        bodiless = head.status in (204, 304)
        if bodiless:
            # Whatever the link still brings would be read as the next answer.
            self._chunked, self._left = False, 0
            transport.write(head.lines + extra + tail)
        elif end:
            length = b"content-length: %d\r\n" % len(body)
            transport.write(b"".join((head.lines, extra, length, tail, body)))
        elif head.length is not None:
            self._chunked, self._left = False, int(head.length)
            length = b"content-length: %b\r\n" % head.length
            transport.write(b"".join((head.lines, extra, length, tail)))
            self.write(body, end=False)
        else:
            self._chunked = True
            chunked = b"transfer-encoding: chunked\r\n"
            transport.write(b"".join((head.lines, extra, chunked, tail)))
            self.write(body, end=False)
        if end:
            self._ended()
        elif head.event_stream:
            # It may stay open for hours: what would speed up a next request is not worth it.
            self._known = None

    def write(self, body: bytes, end: bool) -> None:
        """Send more body bytes."""
        transport = self.transport
        if transport.is_closing():
            return
        if self._chunked:
            if not body:
                if end:
                    transport.write(b"0\r\n\r\n")
            else:
                tail = b"\r\n0\r\n\r\n" if end else b"\r\n"
                transport.write(b"".join((b"%x\r\n" % len(body), body, tail)))
        elif self._fits(body, end) and body:
            transport.write(body)
        if end:
            self._ended()

    def break_off(self) -> None:
        """End a response that cannot be finished: a closed connection is all HTTP has for it."""
        self.exchange = None
        self._close()

    def _fits(self, body: bytes, end: bool) -> bool:
        """Hold a body to the length that was announced; one that lies closes the connection."""
        self._left -= len(body)
        if self._left < 0 or (end and self._left):
            self.close_after = True
            return False
        return True

    def _ended(self) -> None:
        self.exchange = None
        self._finished()

    def _finished(self) -> None:
        """One request is over: close, or wait for the next."""
        if self.close_after:
            self._close()
        elif not self.paused:
            self.deadline = self._gateway.time() + patience.IDLE_SECONDS

    def _close(self) -> None:
        """Close when all is written; an agent that does not take it is cut."""
        self.deadline = self._gateway.time() + patience.STALL_SECONDS
        self.transport.close()

    # Refusals and the rest ----------------------------------------------------------------------

    def _refuse(self, answer: Answer) -> None:
        """Answer at once and let the rest of the request pass by unread."""
        self._refused = True
        request = self._request
        self._gateway.refused(answer, request, self.transport)
        self._body = bytearray()
        self._gateway.bodies.free(request)
        over = request is None or request.expects_continue or request.method == b"HEAD"
        if over or answer.status in (413, 431):
            self.close_after = True
        tail = b"connection: close\r\n\r\n" if self.close_after else b"\r\n"
        length = b"content-length: %d\r\n" % len(answer.body)
        self.transport.write(b"".join((own_head(answer).lines, length, tail, answer.body)))

    def _fail(self, answer: Answer) -> None:
        """Answer what cannot be parsed any further, and close."""
        self.close_after = True
        if not self._refused:
            self._refuse(answer)
        self._close_linger()

    def _close_linger(self) -> None:
        self._deaf = self._refused = self.close_after = True
        self.deadline = self._gateway.time() + patience.LINGER_SECONDS

    def expire(self) -> None:
        """The deadline passed (called by the gateway's sweep)."""
        if self.paused or self.transport.is_closing():
            self.transport.abort()
        else:
            self._close()

    @property
    def busy(self) -> bool:
        """A request comes, or is served."""
        return self.exchange is not None or self._request is not None

    def shutdown(self) -> None:
        """Close, unless a request is under way (uvicorn calls this when it stops)."""
        self.close_after = True
        if not self.busy:
            self._close()

    # Hand-over to uvicorn -----------------------------------------------------------------------

    def _upgrade(self) -> None:
        request = self._request
        if request is None or request.upgrade != b"websocket":
            self._fail(MALFORMED)
            return
        if not self._links:
            self._fail(answers.NOT_FOUND)
            return
        socket = self._config.ws_protocol_class(
            config=self._config, server_state=self._server_state, app_state={}
        )
        self._hand_over(handover.upgrade_request(request), socket)

    def _hand_over(self, data: bytes, protocol: asyncio.Protocol | Reader) -> None:
        self._server_state.connections.discard(self)
        self._gateway.connections.discard(self)
        self.exchange = handover.HANDED_OVER  # what else came in this segment is for nobody
        protocol.connection_made(self.transport)
        protocol.data_received(data)
        handover.switch(self.transport, protocol)
        self._parser, self.transport = handover.SPENT
