"""An HTTP upstream: a pool of HTTP/1.1 keep-alive connections to one configured address.

This is the hot path of every call, so there is no task, no timer and no log line per exchange:
requests are written and responses passed on by callbacks, one coarse timer per upstream enforces
all deadlines, and a task exists only while a connection is dialled.

A request that was written is never written again, not even when a connection that was idle dies
under it without a byte of response: the upstream may have run the call.
"""

import asyncio
import os
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

import anyio

from shared.errors import ResetCode
from shared.jsonrpc.envelope import INVALID_REQUEST
from tunnel_client.upstream.base import Exchange, Headers, Reply, UpstreamRequest
from tunnel_client.upstream.egress import EgressError
from tunnel_client.upstream.http_connection import REFUSED_ANSWER, Connection, HttpExchange
from tunnel_client.upstream.http_dial import dial
from tunnel_client.upstream.http_request import (
    METHODS,
    BadHeaderError,
    BadInjectionError,
    RequestEncoder,
)
from tunnel_client.upstream.http_response import LastHead, ResponseHead
from tunnel_client.upstream.http_sessions import (
    Farewell,
    Farewells,
    McpSession,
    McpSessions,
    is_mcp_session_id,
)
from tunnel_client.upstream.http_target import HttpTarget

Inject = Callable[[UpstreamRequest], Headers]
"""Returns headers to add to a request; each takes the place of the agent's of the same name."""
Refused = Callable[[UpstreamRequest], None]
"""Hears that the upstream did not take what was injected."""

CHECKED_AT_A_TIME = 64
SESSIONS_FULL = -31503
"""JSON-RPC code for no room for another MCP session; outside the reserved range."""
ACCESS_REFUSED = "upstream answer: access refused"
"""All that is said of an upstream that did not take what was injected."""
_CLOSE_SECONDS = 1.0
_SESSION_GONE = (
    "This MCP session is not known here any more. Connect again: reconnect the server in your "
    "agent, or restart the agent."
)


class HttpUpstream:
    """A configured private MCP server behind HTTP; implements `base.Upstream`.

    No reply hears anything before `open` has returned. All methods are for the event loop's
    thread. `start` and `aclose` are called once each.
    """

    def __init__(
        self,
        name: str,
        target: HttpTarget,
        inject: Inject | None = None,
        refused: Refused | None = None,
    ) -> None:
        """Serve `target`; with `refused`, answers that complain of a credential are hidden."""
        self.name = name
        self.limits = target.limits
        self.now = 0.0
        self.last_head = LastHead()
        self._target = target
        self._inject = inject
        self._refused = refused
        self._encoder = RequestEncoder(target)
        self._connections: set[Connection] = set()
        self._idle: list[Connection] = []
        self._waiting: deque[HttpExchange] = deque()
        self._dials: set[asyncio.Task[None]] = set()
        self._sessions = McpSessions(self.limits.mcp_sessions, self.limits.mcp_session_seconds)
        self._farewells = Farewells(self._send_farewell, self.limits.mcp_sessions)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweeper: asyncio.Handle | None = None
        self._empty = asyncio.Event()

    def dials(self, target: HttpTarget) -> None:
        """Make connections by this from now on; those that are open go on."""
        self._target = target

    async def start(self) -> None:
        """Start the coarse timer; nothing is dialled before the first exchange."""
        self._loop = asyncio.get_running_loop()
        self._sweep()

    def open(self, request: UpstreamRequest, reply: Reply) -> Exchange:
        """Begin one exchange; see `base.Upstream`.

        Answers of the client's own: 400 for a header that cannot be sent, 404 for an MCP session
        that is not known, 405 for a method other than POST, GET and DELETE, 502 for a response
        that is never passed on (redirect, content coding, too large a head), 503 when no MCP
        session can be added.
        """
        exchange = HttpExchange(self, request, reply)
        envelope, upstream_id = request.envelope, None
        if request.method not in METHODS:
            return self._answer(exchange, 405, INVALID_REQUEST, "Method not allowed")
        if envelope is not None and envelope.method == "initialize":
            if self._sessions.full:
                return self._answer(exchange, 503, SESSIONS_FULL, "Too many MCP sessions")
        elif request.mcp_session is not None:
            known = self._sessions.find(request.mcp_session, request.session, self.now)
            if known is None:
                return self._answer(exchange, 404, INVALID_REQUEST, _SESSION_GONE)
            known.exchanges += 1
            exchange.mcp_session = known
            upstream_id = known.upstream_id
        self._send(exchange, upstream_id)
        return exchange

    def end_session(self, session: str) -> None:
        """Fail what is open for a session, forget its MCP sessions and DELETE them upstream."""
        open_now = [connection.exchange for connection in self._connections]
        for exchange in [*open_now, *self._waiting]:
            if exchange is not None and exchange.request.session == session:
                self._revoke(exchange)
        for gone in self._sessions.forget_session(session):
            self._farewells.say(gone)

    def lapse(self) -> int:
        """See `base.Upstream`: exchanges ended with the link, so nothing runs."""
        return 0

    async def aclose(self) -> None:
        """Fail what is open and close every connection; MCP sessions upstream are left to idle."""
        self._loop = None
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._farewells.stop()
        for dialling in self._dials:
            dialling.cancel()
        while self._waiting:
            self._waiting.popleft().fail(ResetCode.REFUSED, "the client is stopping")
        for connection in list(self._connections):
            exchange = connection.exchange
            connection.drop()
            if exchange is not None:
                exchange.fail(ResetCode.UPSTREAM_BROKE, "the client is stopping")
        await asyncio.gather(*self._dials, return_exceptions=True)
        if self._connections:
            self._empty.clear()
            with anyio.move_on_after(_CLOSE_SECONDS):
                await self._empty.wait()

    # What follows is called by connections and exchanges (`Owner`).

    def connected(self, connection: Connection) -> None:
        """Take in a new connection; its dial has nothing left to promise to who waits."""
        self._connections.add(connection)
        if connection.dial is not None:
            self._dials.discard(connection.dial)
            connection.dial = None
        self.freed(connection)

    def freed(self, connection: Connection) -> None:
        """Give a connection to the exchange that waits longest, or let it idle."""
        if self._loop is None:
            connection.drop()
        elif self._waiting:
            connection.begin(self._waiting.popleft())
        else:
            connection.idle_since = self.now
            self._idle.append(connection)

    def lost(self, connection: Connection) -> None:
        """Let go of a closed connection and dial in its place if somebody waits."""
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if not self._connections:
            self._empty.set()
        self._dial_for_waiting()

    def answered(self, exchange: HttpExchange, head: ResponseHead) -> bool:
        """Learn or forget an MCP session from a response's head; hide what none should see."""
        if self._refused is not None and _complains(head.status):
            return self._hide(exchange, head.status)
        request, known = exchange.request, exchange.mcp_session
        if known is not None:
            deleted = request.method == "DELETE" and 200 <= head.status < 300
            if deleted or head.status == 404:
                self._sessions.forget(known)
            return True
        envelope = request.envelope
        if (
            head.mcp_session is None
            or request.mcp_session is None
            or envelope is None
            or envelope.method != "initialize"
            or not 200 <= head.status < 300
        ):
            return True
        return self._learn(exchange, request.mcp_session, head.mcp_session, head.headers)

    def _hide(self, exchange: HttpExchange, status: int) -> bool:
        """Answer by kind only: such pages explain logins, and show what they were sent."""
        if status == 401 and self._refused is not None:
            self._refused(exchange.request)
        code, text = (status, "upstream answer: error") if status >= 500 else (502, ACCESS_REFUSED)
        exchange.answer(code, REFUSED_ANSWER, text, "unknown")
        return False

    def withdraw(self, exchange: HttpExchange) -> None:
        """Let go of an exchange that was cancelled before it got a connection."""
        if exchange in self._waiting:
            self._waiting.remove(exchange)

    def _learn(
        self, exchange: HttpExchange, ours: str, upstream_id: bytes, headers: Headers
    ) -> bool:
        """Remember a new MCP session; the agent is shown the relay's id in its place."""
        session = exchange.request.session
        if not is_mcp_session_id(upstream_id):
            exchange.answer(502, REFUSED_ANSWER, "upstream answer: bad MCP session id", "unknown")
            return False
        earlier = self._sessions.find(ours, session, self.now)
        if earlier is not None and earlier.upstream_id != upstream_id:
            self._sessions.forget(earlier)
            self._farewells.say(earlier)
        added = self._sessions.remember(ours, session, upstream_id, self.now)
        if added is None:
            unknown = McpSession(ours, session, upstream_id, self.now)
            unknown.user = exchange.request.user
            self._farewells.say(unknown)
            exchange.answer(503, SESSIONS_FULL, "Too many MCP sessions", "unknown")
            return False
        added.exchanges += 1
        added.user = exchange.request.user
        exchange.mcp_session = added
        headers.append((b"mcp-session-id", ours.encode("ascii")))
        return True

    def _answer(self, exchange: HttpExchange, status: int, code: int, message: str) -> Exchange:
        """Answer in the client's own name, after `open` has returned."""
        self._soon(exchange.answer, status, code, message, "never_sent")
        return exchange

    def _refuse(self, exchange: HttpExchange, detail: str) -> None:
        self._soon(exchange.fail, ResetCode.REFUSED, detail)

    def _soon(self, tell: Callable[..., None], *what: object) -> None:
        asyncio.get_running_loop().call_soon(tell, *what)

    def _send(self, exchange: HttpExchange, upstream_id: bytes | None) -> None:
        request = exchange.request
        try:
            injected = [] if self._inject is None else self._inject(request)
            exchange.request_head = self._encoder.encode(request, upstream_id, injected)
        except BadInjectionError as error:
            self._refuse(exchange, str(error))
        except BadHeaderError:
            self._answer(exchange, 400, INVALID_REQUEST, "A header cannot be forwarded")
        else:
            self._place(exchange)

    def _place(self, exchange: HttpExchange) -> None:
        """Give an exchange the connection used last, a new one, or a place in the queue."""
        if self._loop is None:
            self._refuse(exchange, "the upstream is not started")
            return
        idle, limits = self._idle, self.limits
        may_dial = len(self._connections) + len(self._dials) < limits.connections
        while idle:
            if may_dial and self.now - idle[-1].idle_since >= limits.fresh_seconds:
                break
            connection = idle.pop()
            if connection.usable:
                connection.begin(exchange)
                return
        if len(self._waiting) - len(self._dials) >= limits.waiting:
            self._refuse(exchange, "too many exchanges wait for a connection")
            return
        self._waiting.append(exchange)
        self._dial_for_waiting()

    def _send_farewell(
        self, request: UpstreamRequest, upstream_id: bytes, farewell: Farewell
    ) -> None:
        exchange = HttpExchange(self, request, farewell)
        exchange.farewell = True
        self._send(exchange, upstream_id)

    def _revoke(self, exchange: HttpExchange) -> None:
        if exchange.farewell:
            return
        if exchange.connection is None:
            self.withdraw(exchange)
        else:
            exchange.connection.drop()
        exchange.fail(ResetCode.REVOKED, "the session ended")

    def _dial_for_waiting(self) -> None:
        """Keep as many dials going as exchanges wait, as far as the cap on connections allows."""
        loop, limit = self._loop, self.limits.connections
        while (
            loop is not None
            and len(self._waiting) > len(self._dials)
            and len(self._connections) + len(self._dials) < limit
        ):
            dial = loop.create_task(self._dial(loop))
            self._dials.add(dial)
            dial.add_done_callback(self._dialled)

    async def _dial(self, loop: asyncio.AbstractEventLoop) -> None:
        target, task = self._target, asyncio.current_task()
        try:
            with anyio.fail_after(self.limits.connect_seconds):
                if target.unix is not None:
                    await loop.create_unix_connection(lambda: Connection(self, task), target.unix)
                else:
                    await dial(target, lambda address: Connection(self, task, address))
        except OSError as error:
            if self._waiting:
                detail = f"no connection to the upstream: {_why(error)}"
                self._waiting.popleft().fail(ResetCode.UPSTREAM_UNREACHABLE, detail)

    def _dialled(self, dial: asyncio.Task[None]) -> None:
        self._dials.discard(dial)
        self._dial_for_waiting()

    def _sweep(self) -> None:
        """Enforce every deadline and close what idled too long."""
        loop, limits = self._loop, self.limits
        if loop is None:
            return
        now = self.now = loop.time()
        self._sweeper = loop.call_soon(self._check, iter(list(self._connections)), now)
        while self._waiting and now - self._waiting[0].since > limits.waiting_seconds:
            self._waiting.popleft().fail(ResetCode.REFUSED, "no connection became free in time")
        for connection in list(self._idle):
            if now - connection.idle_since < limits.idle_seconds:
                break
            self._idle.remove(connection)
            connection.drop()
        for gone in self._sessions.forget_idle(now):
            self._farewells.say(gone)

    def _check(self, connections: Iterator[Connection], now: float) -> None:
        """Check some, then let other work go on: thousands at once would hold up every call."""
        if self._loop is None:
            return
        some = list(islice(connections, CHECKED_AT_A_TIME))
        if some:
            self._sweeper = self._loop.call_soon(self._check, connections, now)
        else:
            self._sweeper = self._loop.call_later(self.limits.sweep_seconds, self._sweep)
        for connection in some:
            connection.check(now)


def _complains(status: int) -> bool:
    return status in (401, 403, 407) or status >= 500


def _why(error: OSError) -> str:
    """Say why a dial failed without naming a private address."""
    if isinstance(error, EgressError):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused, {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed, {error.reason}"
    if isinstance(error, socket.gaierror):
        return "name lookup failed"
    if isinstance(error, TimeoutError):
        return "timed out"
    return "refused" if error.errno is None else os.strerror(error.errno)
