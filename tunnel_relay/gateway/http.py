"""The MCP endpoint: `/t/<tunnel>/<upstream>/mcp`, both eras, as raw ASGI.

Security steps, in order; the first that fails answers, and nothing reaches the upstream:

1. size of the head, repeated fields, Host (421), Origin (403)
2. method (405), path (404)
3. token: exactly one, in the header, of a living session (401)
4. the session is for this tunnel and upstream (404, the same as for one that does not exist)
5. media type, encoding and size of the body (415, 413)
6. strict envelope (400), allowed method (-32601), header = body (-32020)
7. MCP session id: one the relay made for this very session (404)
8. a connected client; else wait a little, then 503

The upstream's answer is passed on as it comes: head at once, body chunk by chunk.
"""

import asyncio
import time
from collections.abc import Callable

from shared.errors import MisuseError, ResetCode, TooBigError
from shared.jsonrpc.envelope import Envelope, EnvelopeError, parse
from shared.jsonrpc.headers import check_routing
from shared.jsonrpc.methods import refusal
from shared.wire.codec import OpenHead, encode_open
from tunnel_relay.clients.registry import Link, Registry
from tunnel_relay.gateway import answers, checks
from tunnel_relay.gateway.answers import Answer
from tunnel_relay.gateway.call import Call, Receive, Scope, Send
from tunnel_relay.gateway.exchange import Exchange
from tunnel_relay.gateway.headers import forwarded, returned
from tunnel_relay.gateway.mcp_sessions import McpSessions
from tunnel_relay.gateway.wheel import Wheel
from tunnel_relay.sessions import SessionTable
from tunnel_relay.store.base import Session

COMMENT = b":\n\n"


class AgentGoneError(Exception):
    """The agent closed its connection before its request was whole."""


class Gateway:
    """Checks agents' requests and carries each over a link; one instance a relay."""

    def __init__(
        self,
        edge: checks.Edge,
        sessions: SessionTable,
        registry: Registry,
        mcp_sessions: McpSessions,
        *,
        realm: str,
        wait_for_client: float,
        comment_every: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._edge = edge
        self._sessions = sessions
        self._registry = registry
        self._mcp_sessions = mcp_sessions
        self._unauthorized = answers.unauthorized(realm, token_sent=True)
        self._no_token = answers.unauthorized(realm, token_sent=False)
        self._wait_for_client = wait_for_client
        self._comment_every = comment_every
        self._clock = clock
        self._live: dict[str, set[Exchange]] = {}
        self._loop = asyncio.get_running_loop()
        self._wheel = Wheel(self._loop)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request of an agent."""
        judged = self._judge_head(scope)
        if isinstance(judged, Answer):
            await respond(send, judged)
            return
        fields, session = judged
        method: str = scope["method"]
        try:
            body = await self._read_body(receive) if method == "POST" else b""
        except AgentGoneError:
            return
        if len(body) > self._edge.body_bytes:
            await respond(send, answers.BODY_TOO_LARGE)
            return
        try:
            envelope = self._judge_body(scope, body) if method == "POST" else None
        except EnvelopeError as error:
            await respond(send, _dropped(error) or answers.envelope_refused(error))
            return
        call = Call(method, scope, fields, session, envelope, body)
        opened = await self._open(call)
        if isinstance(opened, Answer):
            await respond(send, opened)
            return
        try:
            await self._carry(opened, call, receive, send)
        finally:
            if opened.orphaned_at is None:
                opened.finish()

    def close(self) -> None:
        """Stop the timer; open exchanges end with their links."""
        self._wheel.close()

    @property
    def live(self) -> int:
        """How many exchanges are under way."""
        return sum(len(exchanges) for exchanges in self._live.values())

    def cut_session(self, session: str) -> int:
        """End every exchange of a session at once; returns how many were cut."""
        exchanges = list(self._live.get(session, ()))
        for exchange in exchanges:
            exchange.cut(ResetCode.REVOKED)
        return len(exchanges)

    # Steps 1 to 5 -------------------------------------------------------------------------------

    def _judge_head(self, scope: Scope) -> "tuple[checks.Fields, Session] | Answer":
        edge, method = self._edge, scope["method"]
        fields = checks.read_fields(scope["headers"], edge)
        if isinstance(fields, Answer):
            return fields
        refused = checks.refuse_place(fields, edge)
        if refused is not None:
            return refused
        if method not in checks.METHODS:
            return answers.METHOD_NOT_ALLOWED
        path = checks.PATH.fullmatch(scope["path"])
        if path is None:
            return answers.NOT_FOUND
        if fields.authorization is None:
            return self._no_token
        token = checks.read_token(fields)
        session = self._sessions.find(token, self._clock()) if token is not None else None
        if session is None:
            return self._unauthorized
        if (session.tunnel, session.upstream) != path.groups():
            return answers.NOT_FOUND
        return checks.refuse_body(method, fields, edge) or (fields, session)

    async def _read_body(self, receive: Receive) -> bytes:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise AgentGoneError
        body: bytes = message.get("body", b"")
        if not message.get("more_body", False):
            return body
        parts, size = [body], len(body)
        while size <= self._edge.body_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise AgentGoneError
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if not message.get("more_body", False):
                break
        return b"".join(parts)

    # Steps 6 to 8 -------------------------------------------------------------------------------

    def _judge_body(self, scope: Scope, body: bytes) -> Envelope:
        envelope = parse(body)
        check_routing(envelope, scope["headers"])
        refused = refusal(envelope)
        if refused is not None:
            raise refused
        return envelope

    async def _open(self, call: Call) -> Exchange | Answer:
        session = call.session
        place = f"{session.tunnel}/{session.upstream}"
        instance: str | None = None
        sent = call.fields.mcp_session_id
        if sent is not None and not call.modern and not call.initializes:
            instance = self._mcp_sessions.instance(sent, session.id, place)
            if instance is None:
                return answers.MCP_SESSION_GONE
            call.mcp_session = sent.decode()
        link = self._registry.find(session.tunnel, session.upstream, instance)
        if link is None:
            link = await self._registry.wait(
                session.tunnel, session.upstream, instance, self._wait_for_client
            )
            if link is None:
                return answers.not_connected(call.message_id, 5)
            # Waiting took time: what was true of the session then need not be true now.
            if self._sessions.state(session.id, self._clock()) is not None:
                return self._unauthorized
        if call.initializes:
            call.mcp_session = self._mcp_sessions.mint(session.id, place, link.instance)
        return self._start(call, link)

    def _start(self, call: Call, link: Link) -> Exchange | Answer:
        session = call.session
        try:
            head = encode_open(
                OpenHead(
                    session.upstream,
                    call.method,
                    session.id,
                    call.mcp_session,
                    forwarded(call.scope["headers"], call.fields.connection),
                )
            )
        except TooBigError:
            return answers.HEADERS_TOO_LARGE
        exchange = Exchange(
            link.driver, self._loop, session.id, session.expires, self._clock, self._comment_every
        )
        try:
            exchange.open(head, call.body)
        except MisuseError:
            return answers.failed(ResetCode.REFUSED, call.message_id)
        exchange.on_done = self._forget
        self._live.setdefault(session.id, set()).add(exchange)
        self._wheel.add(exchange)
        return exchange

    def _forget(self, exchange: Exchange) -> None:
        self._wheel.remove(exchange)
        exchanges = self._live.get(exchange.session)
        if exchanges is not None:
            exchanges.discard(exchange)
            if not exchanges:
                del self._live[exchange.session]

    # The answer ---------------------------------------------------------------------------------

    async def _carry(self, exchange: Exchange, call: Call, receive: Receive, send: Send) -> None:
        watcher: list[asyncio.Task[None]] = []
        call.body, call.scope = b"", {}
        exchange.on_slow = lambda: watcher.append(self._loop.create_task(_watch(exchange, receive)))
        try:
            while exchange.head is None and exchange.failure is None and not exchange.disconnected:
                await exchange.wait()
            if exchange.disconnected:
                self._abandon(exchange, call)
            elif exchange.head is None:
                code = exchange.failure or ResetCode.PROTOCOL
                await respond(send, answers.failed(code, call.message_id))
            else:
                await self._stream(exchange, call, send)
        except asyncio.CancelledError:
            exchange.cancel()
            raise
        finally:
            exchange.on_slow = None
            for task in watcher:
                task.cancel()

    async def _stream(self, exchange: Exchange, call: Call, send: Send) -> None:
        status, upstream_headers = exchange.head or (502, [])
        headers = returned(upstream_headers)
        self._finish_headers(exchange, call, status, headers)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        if exchange.event_stream and not exchange.chunks and not exchange.ended:
            await send({"type": "http.response.body", "body": COMMENT, "more_body": True})
        while not exchange.disconnected:
            if exchange.chunks or exchange.ended:
                ended = exchange.ended
                data = exchange.take()
                message = {"type": "http.response.body", "body": data, "more_body": not ended}
                await send(message)
                exchange.sent(data)
                if ended:
                    return
            elif exchange.failure is not None:
                await self._break_off(exchange, call, send)
                return
            else:
                if exchange.comment_due:
                    await self._comment(exchange, send)
                await exchange.wait()
        self._abandon(exchange, call)

    def _finish_headers(
        self,
        exchange: Exchange,
        call: Call,
        status: int,
        headers: list[tuple[bytes, bytes]],
    ) -> None:
        names = {name: value for name, value in headers if name in _LOOKED_AT}
        if b"cache-control" not in names:
            headers.append(answers.NO_STORE)
        if names.get(b"content-type", b"").startswith(b"text/event-stream"):
            exchange.event_stream = True
            exchange.last_sent = self._loop.time()
            if b"x-accel-buffering" not in names:
                headers.append((b"x-accel-buffering", b"no"))
        if exchange.ended and not exchange.chunks and b"content-length" not in names:
            headers.append((b"content-length", b"0"))
        if call.initializes and 200 <= status < 300 and exchange.head is not None:
            issued = call.mcp_session.encode()
            if (b"mcp-session-id", issued) in exchange.head[1]:
                headers.append((b"mcp-session-id", issued))

    async def _comment(self, exchange: Exchange, send: Send) -> None:
        exchange.comment_due = False
        if exchange.at_event_boundary:
            exchange.last_sent = self._loop.time()
            await send({"type": "http.response.body", "body": COMMENT, "more_body": True})

    async def _break_off(self, exchange: Exchange, call: Call, send: Send) -> None:
        """End a response whose head is out: an SSE agent is told, others see a cut body."""
        code = exchange.failure or ResetCode.UPSTREAM_BROKE
        if exchange.event_stream and exchange.at_event_boundary:
            last = b"" if call.message_id is None else answers.failure_event(code, call.message_id)
            await send({"type": "http.response.body", "body": last, "more_body": False})
        # Otherwise the server closes the connection because the body was not finished, which is
        # the only way HTTP/1.1 has to say that it is not whole.

    def _abandon(self, exchange: Exchange, call: Call) -> None:
        if call.runs_on and not exchange.ended and exchange.failure is None:
            exchange.orphan()
        else:
            exchange.cancel()


def _dropped(error: EnvelopeError) -> Answer | None:
    """Answer a notification nobody knows: accepted, and dropped."""
    return Answer(202, b"", []) if error.status == 202 else None


async def _watch(exchange: Exchange, receive: Receive) -> None:
    """Wait for the agent to leave; runs only beside calls that take long."""
    while (await receive())["type"] != "http.disconnect":
        pass
    exchange.disconnected = True
    exchange.wake()


async def respond(send: Send, answer: Answer) -> None:
    """Send a whole answer of the relay's own."""
    headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})


_LOOKED_AT = frozenset({b"cache-control", b"content-type", b"content-length", b"x-accel-buffering"})
