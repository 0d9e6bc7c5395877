"""One keep-alive connection to an HTTP upstream and the exchange it carries; callbacks only."""

import asyncio
import socket
from typing import Protocol, cast

from shared.errors import ResetCode
from shared.jsonrpc.envelope import Kind, error_body
from shared.wire.limits import KIB
from tunnel_client.upstream.base import Headers, Reply, UpstreamRequest
from tunnel_client.upstream.egress import same_place
from tunnel_client.upstream.http_response import (
    BrokenResponseError,
    LastHead,
    RefusedResponseError,
    ResponseHead,
    ResponseReader,
)
from tunnel_client.upstream.http_sessions import McpSession
from tunnel_client.upstream.http_target import HttpLimits

REFUSED_ANSWER = -31502
"""JSON-RPC code for an upstream's answer that is not passed on; outside the reserved range."""
_JSON = b"application/json"
_JOINED_BYTES = 64 * KIB
"""Up to here one copy of head and body together is cheaper than two writes."""


class Owner(Protocol):
    """What a connection and its exchange ask of the pool they belong to."""

    limits: HttpLimits
    now: float
    """A coarse clock in seconds, set by the sweep."""
    last_head: LastHead

    def connected(self, connection: "Connection") -> None:
        """Take in a new connection that carries nothing yet."""

    def freed(self, connection: "Connection") -> None:
        """Take back a connection whose exchange is over."""

    def lost(self, connection: "Connection") -> None:
        """Let go of a connection that is closed."""

    def answered(self, exchange: "HttpExchange", head: ResponseHead) -> bool:
        """Note what a response means for the MCP session; False when `exchange` was answered."""

    def withdraw(self, exchange: "HttpExchange") -> None:
        """Let go of an exchange that still waits for a connection."""


class HttpExchange:
    """One request on its way and the reply it belongs to; implements `base.Exchange`."""

    __slots__ = (
        "_owner",
        "connection",
        "farewell",
        "mcp_session",
        "over",
        "reply",
        "request",
        "request_head",
        "since",
    )

    def __init__(self, owner: Owner, request: UpstreamRequest, reply: Reply) -> None:
        self._owner = owner
        self.request = request
        self.request_head = b""
        self.reply = reply
        self.since = owner.now
        self.connection: Connection | None = None
        self.mcp_session: McpSession | None = None
        self.over = False
        self.farewell = False
        """A DELETE of our own, which may take a few seconds and no more."""

    def resume(self) -> None:
        """Read the response's body on."""
        if self.connection is not None:
            self.connection.resume()

    def cancel(self) -> None:
        """Close the connection: HTTP/1.1 has no other way to stop one request."""
        if self.over:
            return
        connection = self._end()
        if connection is None:
            self._owner.withdraw(self)
        else:
            connection.drop()

    def head(self, head: ResponseHead, end: bool) -> bool:
        """Pass a response's head on; False when the reply got another answer instead."""
        if self.over or not self._owner.answered(self, head):
            return False
        if end:
            self._end()
        self.reply.head(head.status, head.headers, end)
        return True

    def data(self, body: bytes, end: bool) -> bool:
        """Pass body bytes on; False asks to pause."""
        if self.over:
            return True
        if end:
            self._end()
        return self.reply.data(body, end)

    def fail(self, code: ResetCode, detail: str) -> None:
        """End without an answer or in the middle of one; the connection is the caller's matter."""
        if not self.over:
            self._end()
            self.reply.fail(code, detail)

    def answer(self, status: int, code: int, message: str, delivery: str) -> None:
        """Answer with a JSON-RPC error of the client's own that echoes the request's id.

        `delivery` is `never_sent` or `unknown`: whether the upstream may have acted.
        """
        if self.over:
            return
        self._end()
        envelope = self.request.envelope
        known = None if envelope is None or envelope.kind is not Kind.REQUEST else envelope.id
        body = error_body(known, code, message, {"origin": "client", "delivery": delivery})
        headers: Headers = [(b"content-type", _JSON), (b"content-length", b"%d" % len(body))]
        self.reply.head(status, headers)
        self.reply.data(body, True)

    def _end(self) -> "Connection | None":
        self.over = True
        if self.mcp_session is not None:
            self.mcp_session.exchanges -= 1
            self.mcp_session.used = self._owner.now
            self.mcp_session = None
        connection, self.connection = self.connection, None
        return connection


class Connection(asyncio.Protocol):
    """One connection; carries one exchange at a time, and none while idle."""

    __slots__ = (
        "_address",
        "_answering",
        "_heard",
        "_large",
        "_owner",
        "_paused",
        "_reader",
        "_since",
        "_transport",
        "dial",
        "exchange",
        "idle_since",
    )

    def __init__(
        self, owner: Owner, dial: "asyncio.Task[None] | None", address: str | None = None
    ) -> None:
        """Carry exchanges to `address` and to nobody else; None for a Unix socket.

        `dial` is the task that makes this connection; the owner takes it back when connected.
        """
        self.dial = dial
        self._owner = owner
        self._address = address
        self._reader = ResponseReader(owner.limits, owner.last_head)
        self._paused = False
        self._large = False
        self._answering = False
        self._since = self._heard = self.idle_since = owner.now
        self.exchange: HttpExchange | None = None

    @property
    def usable(self) -> bool:
        """Tell whether a request may be written: neither side has closed, as far as we know."""
        return not self._transport.is_closing()

    def begin(self, exchange: HttpExchange) -> None:
        """Send an exchange's request; the connection must be usable and carry none."""
        self.exchange = exchange
        exchange.connection = self
        self._since = self._heard = self._owner.now
        self._answering = False
        self._reader.begin()
        head, body = exchange.request_head, exchange.request.body
        exchange.request_head = b""
        self._large = len(body) > _JOINED_BYTES
        if self._large:
            self._transport.writelines([head, body])
        else:
            self._transport.write(head + body)

    def resume(self) -> None:
        """Read on after a pause."""
        if self._paused:
            self._paused = False
            self._heard = self._owner.now
            if self.usable:
                self._transport.resume_reading()

    def drop(self) -> None:
        """Close at once, whatever is in flight; never waits for the peer."""
        if self.exchange is not None:
            self.exchange.connection = None
            self.exchange = None
        self._transport.abort()

    def check(self, now: float) -> None:
        """Fail the exchange if the upstream is later than the limits allow."""
        exchange, limits = self.exchange, self._owner.limits
        if exchange is None:
            return
        if not self._answering:
            late = now - self._since > limits.head_seconds
        else:
            head = self._reader.head
            patient = self._paused or (head is not None and head.event_stream)
            late = not patient and now - self._heard > limits.silence_seconds
        if exchange.farewell and now - exchange.since > limits.farewell_seconds:
            late = True
        if late:
            self.drop()
            exchange.fail(ResetCode.TIMEOUT, "the upstream did not answer in time")

    # What follows is called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        endpoint = transport.get_extra_info("socket")
        if endpoint is not None and endpoint.family in (socket.AF_INET, socket.AF_INET6):
            endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = transport.get_extra_info("peername")
        if self._address is not None and not same_place(self._address, peer):
            self._transport.abort()  # `dial` sees it and says so
            return
        self._owner.connected(self)

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            # Nothing was asked: an answer taken now would go to the next request.
            self.drop()
            return
        self._heard = self._owner.now
        reader = self._reader
        try:
            reader.feed(data)
        except BrokenResponseError as error:
            self.drop()
            exchange.fail(ResetCode.UPSTREAM_BROKE, str(error))
        except RefusedResponseError as error:
            self.drop()
            exchange.answer(502, REFUSED_ANSWER, f"upstream answer: {error}", "unknown")
        else:
            if reader.head is not None:
                self._pass_on(exchange, reader.head)

    def eof_received(self) -> None:
        exchange, head = self.exchange, self._reader.head
        if exchange is not None and head is not None and self._reader.end_of_input():
            self._pass_on(exchange, head)

    def connection_lost(self, exc: Exception | None) -> None:
        exchange, self.exchange = self.exchange, None
        self._reader.close()
        self._owner.lost(self)
        if exchange is not None:
            exchange.connection = None
            exchange.fail(ResetCode.UPSTREAM_BROKE, "the upstream closed the connection")

    def _pass_on(self, exchange: HttpExchange, head: ResponseHead) -> None:
        """Hand over what one read brought, as one piece."""
        reader = self._reader
        pieces, reader.pieces = reader.pieces, []
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        end = reader.complete
        first, self._answering = not self._answering, True
        if end:
            # Before the reply hears of it, which may open the next exchange right there.
            self._finish(exchange)
        if first:
            if not exchange.head(head, end and not body):
                if not end:
                    self.drop()
                return
            if not body:
                return
        elif not body and not end:
            return
        if not exchange.data(body, end) and self.exchange is exchange and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _finish(self, exchange: HttpExchange) -> None:
        self.exchange = exchange.connection = None
        if self._paused:
            self.resume()
        # A response that came before the request was written leaves its rest in the buffer.
        unsent = self._large and self._transport.get_write_buffer_size() > 0
        if self._reader.reusable and self.usable and not unsent:
            self._owner.freed(self)
        else:
            self._transport.abort()
