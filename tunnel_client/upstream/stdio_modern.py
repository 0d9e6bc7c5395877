"""The modern era (2026-07-28) in front of one shared child: what an HTTP server would answer.

Checks come in the order of the reference server, so that an agent is told the same thing: method,
Accept, envelope, duplicate headers, `_meta`, headers against body, version, `Mcp-Param-*`.
"""

from collections import Counter
from typing import Any

import structlog

from shared.errors import ResetCode
from shared.jsonrpc.envelope import (
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    UNSUPPORTED_VERSION,
    Envelope,
    EnvelopeError,
    Kind,
)
from shared.jsonrpc.headers import (
    check_modern_meta,
    check_routing,
    check_version,
    read_routing,
)
from shared.jsonrpc.param_headers import PARAM_PREFIX, check_mirrored
from tunnel_client.upstream.base import Exchange, Reply, UpstreamRequest
from tunnel_client.upstream.stdio_answers import (
    accepts,
    answer,
    empty,
    header,
    refuse,
    refuse_busy,
    refuse_unsent,
    write_line,
)
from tunnel_client.upstream.stdio_command import StdioLimits
from tunnel_client.upstream.stdio_exchange import ModernExchange
from tunnel_client.upstream.stdio_pool import ChildPool, RefusedError
from tunnel_client.upstream.stdio_remap import LOG_LEVEL_KEY, Mapping, meta_of
from tunnel_client.upstream.stdio_router import Answered, Router
from tunnel_client.upstream.stdio_schemas import ToolSchemas
from tunnel_client.upstream.stdio_shared import Era, SharedChild


class Settled:
    """The exchange of a request that was answered at once."""

    def resume(self) -> None:
        """Nothing waits."""

    def cancel(self) -> None:
        """Nothing runs."""


class ModernFront:
    """Answers modern requests from the shared child."""

    def __init__(
        self, pool: ChildPool, limits: StdioLimits, log: structlog.typing.FilteringBoundLogger
    ) -> None:
        self._limits = limits
        self._log = log
        self._shared = SharedChild(pool, limits, log, self._line, self._child_ended)
        self._router = Router(self._note)
        self._schemas = ToolSchemas(self._ask, limits)
        self._exchanges: set[ModernExchange] = set()
        self._per_session: Counter[str] = Counter()

    def open(self, request: UpstreamRequest, reply: Reply) -> Exchange:
        """Begin one exchange."""
        if request.method != "POST":
            empty(reply, 405, [(b"allow", b"POST")])
            return Settled()
        if not all(accepts(request)):
            empty(reply, 406)
            return Settled()
        envelope = request.envelope
        if envelope is None or envelope.kind is Kind.RESPONSE:
            refuse(reply, request, 400, INVALID_REQUEST, "Body must be a request or a notification")
            return Settled()
        full = len(self._exchanges) >= self._limits.in_flight
        if full or self._per_session[request.session] >= self._limits.in_flight_per_session:
            refuse_busy(reply, request)
            return Settled()
        exchange = ModernExchange(self, request, reply, self._limits.exchange_buffer_bytes)
        self._exchanges.add(exchange)
        self._per_session[exchange.session] += 1
        self._shared.want(lambda outcome: self._era_known(exchange, envelope, outcome))
        return exchange

    def abandon(self, exchange: ModernExchange) -> None:
        """Have the child stop working on a request nobody waits for."""
        mapping = exchange.mapping
        if mapping is not None and self._forget(exchange):
            self._router.abandoned(exchange)
            self._send_cancelled(mapping.id)
        else:
            self._forget(exchange)

    def end_session(self, session: str) -> None:
        """Cut what runs for a session of the relay."""
        for exchange in [each for each in self._exchanges if each.session == session]:
            self.abandon(exchange)
            exchange.fail(ResetCode.REVOKED, "the session ended")

    def sweep(self, now: float) -> None:
        """Turn answers that were silent for long into streams, which are kept alive."""
        due = now - self._limits.commit_after
        for exchange in list(self._exchanges):
            if exchange.mapping is not None:
                exchange.silent_until(due)

    def stop(self) -> None:
        """End everything."""
        self._shared.stop()
        self._fail_all("the client ends")

    def _era_known(
        self, exchange: ModernExchange, envelope: Envelope, outcome: Era | RefusedError
    ) -> None:
        if exchange.done:
            return
        request, reply = exchange.request, exchange.reply
        if isinstance(outcome, RefusedError):
            self._settle(exchange)
            refuse_unsent(reply, request, outcome)
            return
        try:
            if outcome is Era.LEGACY:
                raise EnvelopeError(
                    INVALID_REQUEST, "Bad Request: this server speaks 2025-11-25 or older only"
                )
            if envelope.kind is Kind.NOTIFICATION:
                self._notification(exchange)
                return
            check_modern_meta(envelope)
            check_routing(envelope, read_routing(request.headers))
            check_version(envelope, self._shared.versions)
            if envelope.method == "initialize":
                # Over stdio a server says -32022, because its process is locked to one era.
                raise EnvelopeError(METHOD_NOT_FOUND, "Method not found", envelope.id, 404)
        except EnvelopeError as error:
            self._settle(exchange)
            answer(reply, error.status, error.body())
            return
        self._check_tool(exchange, envelope)

    def _notification(self, exchange: ModernExchange) -> None:
        """Accept and drop it, as the reference server does.

        An agent cancels by closing the answer's stream. To honour a cancellation by an id the
        agent chose would let it reach into the calls of another.
        """
        requested = header(exchange.request, b"mcp-protocol-version")
        if requested not in self._shared.versions:
            named = {"supported": self._shared.versions, "requested": requested}
            raise EnvelopeError(UNSUPPORTED_VERSION, "Unsupported protocol version", data=named)
        self._settle(exchange)
        empty(exchange.reply, 202)

    def _check_tool(self, exchange: ModernExchange, envelope: Envelope) -> None:
        """Check `Mcp-Param-*` headers, after asking what the tool declares when that is unknown."""
        if envelope.method != "tools/call" or envelope.name is None:
            self._dispatch(exchange, envelope)
            return
        params = envelope.params or {}
        headers = exchange.request.headers
        named = any(key.startswith(PARAM_PREFIX) for key, _ in headers)
        if not params.get("arguments") and not named:
            self._dispatch(exchange, envelope)
            return
        meta = meta_of(envelope.document)
        if self._schemas.find(envelope.name) is None and not self._schemas.is_fresh:
            self._schemas.refresh(meta, lambda: self._judge_tool(exchange, envelope))
            return
        if self._schemas.is_old:
            self._schemas.refresh(meta, _nothing)
        self._judge_tool(exchange, envelope)

    def _judge_tool(self, exchange: ModernExchange, envelope: Envelope) -> None:
        if exchange.done:
            return
        wanted = self._schemas.find(envelope.name or "")
        try:
            check_mirrored(wanted or (), envelope, exchange.request.headers)
        except EnvelopeError as error:
            if not self._schemas.is_fresh:
                meta = meta_of(envelope.document)
                self._schemas.refresh(meta, lambda: self._judge_tool(exchange, envelope))
                return
            self._settle(exchange)
            answer(exchange.reply, error.status, error.body())
            return
        self._dispatch(exchange, envelope)

    def _dispatch(self, exchange: ModernExchange, envelope: Envelope) -> None:
        child = self._shared.child
        if child is None:
            self._settle(exchange)
            refuse_unsent(
                exchange.reply, exchange.request, RefusedError("the program has just ended", 1.0)
            )
            return
        if child.unsent > self._limits.unsent_bytes or envelope.id is None:
            self._settle(exchange)
            refuse_busy(exchange.reply, exchange.request)
            return
        mapping = Mapping(self._router.names, envelope.id, envelope.params)
        exchange.mapping = mapping
        exchange.sent_at = self._router.now()
        exchange.logs = LOG_LEVEL_KEY in meta_of(envelope.document)
        self._router.sent(exchange, mapping)
        child.send(write_line(mapping.outgoing(envelope.document)))

    def _ask(self, method: str, params: dict[str, Any], then: Answered) -> None:
        child = self._shared.child
        if child is None or child.unsent > self._limits.unsent_bytes:
            then(None, 0)
            return
        name = self._router.asked(then)
        child.send(write_line({"jsonrpc": "2.0", "id": name, "method": method, "params": params}))

    def _line(self, line: bytes) -> None:
        ended, tools_changed = self._router.line(line)
        if ended is not None:
            self._forget(ended)
        if tools_changed:
            self._schemas.forget()

    def _child_ended(self, reason: str) -> None:
        self._schemas.forget()
        self._fail_all(reason)

    def _fail_all(self, reason: str) -> None:
        exchanges, self._exchanges = self._exchanges, set()
        self._per_session.clear()
        self._router.clear()
        for exchange in exchanges:
            exchange.fail(ResetCode.UPSTREAM_BROKE, reason)

    def _settle(self, exchange: ModernExchange) -> None:
        exchange.done = True
        self._forget(exchange)

    def _forget(self, exchange: ModernExchange) -> bool:
        if exchange not in self._exchanges:
            return False
        self._exchanges.discard(exchange)
        self._per_session[exchange.session] -= 1
        if self._per_session[exchange.session] <= 0:
            del self._per_session[exchange.session]
        self._router.forget(exchange)
        return True

    def _send_cancelled(self, name: str) -> None:
        child = self._shared.child
        if child is not None and child.unsent <= self._limits.unsent_bytes:
            params = {"requestId": name, "reason": "nobody waits for the answer any more"}
            message = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
            child.send(write_line(message))

    def _note(self, text: str) -> None:
        child = self._shared.child
        if child is not None:
            child.stderr.note(text, self._router.now())


def _nothing() -> None:
    """Nobody waits for this listing."""
