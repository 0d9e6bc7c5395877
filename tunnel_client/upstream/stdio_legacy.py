"""The legacy era (2025-11-25 and older): MCP sessions, each with a child of its own.

Statuses and their order are those of the reference server.
"""

import asyncio

import structlog

from shared.errors import ResetCode
from shared.jsonrpc.envelope import INVALID_REQUEST, Envelope, Kind
from tunnel_client.upstream.base import Exchange, Reply, UpstreamRequest
from tunnel_client.upstream.stdio_answers import accepts, empty, refuse, refuse_unsent
from tunnel_client.upstream.stdio_command import StdioLimits
from tunnel_client.upstream.stdio_modern import Settled
from tunnel_client.upstream.stdio_pool import ChildPool, RefusedError
from tunnel_client.upstream.stdio_session import McpSession

_GONE = (
    "Session not found: the server process behind this MCP session has ended. "
    "Reconnect (restart the connection in your MCP client) to begin a new one."
)


class LegacyFront:
    """Finds or makes the MCP session a request belongs to."""

    def __init__(
        self, pool: ChildPool, limits: StdioLimits, log: structlog.typing.FilteringBoundLogger
    ) -> None:
        self._pool = pool
        self._limits = limits
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._sessions: dict[str, McpSession] = {}

    def open(self, request: UpstreamRequest, reply: Reply) -> Exchange:
        """Begin one exchange."""
        if request.method == "POST":
            return self._post(request, reply)
        if request.method == "GET":
            return self._get(request, reply)
        if request.method == "DELETE":
            self._delete(request, reply)
        else:
            refuse(
                reply,
                request,
                405,
                INVALID_REQUEST,
                "Method Not Allowed",
                [(b"allow", b"GET, POST, DELETE")],
            )
        return Settled()

    def end_session(self, session: str) -> None:
        """End the MCP sessions below a session of the relay, now."""
        for found in [each for each in self._sessions.values() if each.session == session]:
            del self._sessions[found.name]
            found.cut(ResetCode.REVOKED, "the session ended")

    def lapse(self) -> int:
        """End the MCP sessions that still run a call; returns how many. Idle ones do nothing."""
        running = [each for each in self._sessions.values() if each.runs]
        for found in running:
            del self._sessions[found.name]
            found.cut(ResetCode.REVOKED, "the relay was silent for too long")
        return len(running)

    def sweep(self, now: float) -> None:
        """Begin streams that were silent for long, and end MCP sessions nobody used for long."""
        due = now - self._limits.commit_after
        for session in list(self._sessions.values()):
            session.begin_silent(due)
            if session.is_used:
                session.last_used = now
            elif now - session.last_used >= self._limits.idle_timeout:
                del self._sessions[session.name]
                session.end()

    def stop(self) -> None:
        """End everything."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            session.end()

    def _post(self, request: UpstreamRequest, reply: Reply) -> Exchange:
        envelope = request.envelope
        if not all(accepts(request)):
            self._not_acceptable(request, reply, "both application/json and text/event-stream")
        elif envelope is None:
            refuse(reply, request, 400, INVALID_REQUEST, "Bad Request: no JSON-RPC message")
        elif envelope.kind is Kind.REQUEST and envelope.method == "initialize":
            return self._initialize(request, envelope, reply)
        else:
            session = self._find(request, reply)
            if session is not None and envelope.kind is Kind.REQUEST:
                return session.call(request, envelope, reply)
            if session is not None:
                session.post(request, envelope, reply)
        return Settled()

    def _get(self, request: UpstreamRequest, reply: Reply) -> Exchange:
        if not accepts(request)[1]:
            self._not_acceptable(request, reply, "text/event-stream")
            return Settled()
        session = self._find(request, reply)
        return Settled() if session is None else session.listen(request, reply)

    def _delete(self, request: UpstreamRequest, reply: Reply) -> None:
        session = self._find(request, reply)
        if session is not None:
            del self._sessions[session.name]
            session.end()
            empty(reply, 200, session.headers)

    def _initialize(self, request: UpstreamRequest, envelope: Envelope, reply: Reply) -> Exchange:
        name = request.mcp_session
        if name is None:
            refuse(reply, request, 400, INVALID_REQUEST, "Bad Request: no session id was made")
            return Settled()
        if name in self._sessions:
            session = self._find(request, reply)
            return Settled() if session is None else session.call(request, envelope, reply)
        session = McpSession(name, request.session, self._limits, self._log, self._loop.time())
        try:
            session.child = self._pool.start(
                lambda line: self._line(session, line),
                lambda reason: self._child_ended(session, reason),
                request.session,
            )
        except RefusedError as error:
            refuse_unsent(reply, request, error)
            return Settled()
        self._sessions[name] = session
        session.abandoned = lambda: self._abandoned(session)
        return session.call(request, envelope, reply)

    def _abandoned(self, session: McpSession) -> None:
        """End an MCP session that never began: nobody has its name, so nobody comes back."""
        if self._sessions.get(session.name) is session:
            del self._sessions[session.name]
        session.cut(ResetCode.CANCELLED, "nobody waits for it to begin")

    def _find(self, request: UpstreamRequest, reply: Reply) -> McpSession | None:
        if request.mcp_session is None:
            refuse(reply, request, 400, INVALID_REQUEST, "Bad Request: Missing session ID")
            return None
        session = self._sessions.get(request.mcp_session)
        # The relay binds the two already; a second look costs nothing.
        if session is None or session.session != request.session:
            refuse(reply, request, 404, INVALID_REQUEST, _GONE)
            return None
        session.last_used = self._loop.time()
        return session

    def _line(self, session: McpSession, line: bytes) -> None:
        before = session.answered
        session.line(line)
        if session.answered and not before:
            self._pool.guard.works()
            if session.refused:
                self._sessions.pop(session.name, None)

    def _child_ended(self, session: McpSession, reason: str) -> None:
        self._sessions.pop(session.name, None)
        if not session.answered:
            # What comes later may be one agent's doing, which must not keep others out.
            self._pool.crashed(0.0)
        session.child_ended(reason)

    @staticmethod
    def _not_acceptable(request: UpstreamRequest, reply: Reply, what: str) -> None:
        message = f"Not Acceptable: Client must accept {what}"
        refuse(reply, request, 406, INVALID_REQUEST, message)
