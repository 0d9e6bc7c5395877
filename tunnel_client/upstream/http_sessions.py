"""Which MCP session of the upstream stands behind which MCP session of the relay.

The agent only ever sees the relay's id; the upstream only ever sees its own.
"""

import re
from collections import OrderedDict, deque
from collections.abc import Callable

from shared.errors import ResetCode
from tunnel_client.upstream.base import Headers, UpstreamRequest

_ID = re.compile(rb"[\x21-\x7e]{1,1024}")
"""Visible ASCII (MCP 2025-11-25, Streamable HTTP, session management); the length cap is ours."""
_FAREWELLS_AT_ONCE = 8


def is_mcp_session_id(value: bytes) -> bool:
    """Tell whether an upstream may name an MCP session so."""
    return _ID.fullmatch(value) is not None


class McpSession:
    """One MCP session at the upstream; `exchanges` are open now and keep it from idling out."""

    __slots__ = ("exchanges", "id", "session", "upstream_id", "used", "user")

    def __init__(self, id: str, session: str, upstream_id: bytes, now: float) -> None:  # noqa: A002 - the id of the thing itself
        self.user: str | None = None
        self.id = id
        self.session = session
        self.upstream_id = upstream_id
        self.used = now
        self.exchanges = 0


class McpSessions:
    """The bounded table of MCP sessions of one upstream, least recently used first.

    It never makes room by forgetting one that may still be in use: when it is full, new ones are
    refused. `now` is any clock in seconds that does not go backwards.
    """

    def __init__(self, limit: int, idle_seconds: float) -> None:
        self._limit = limit
        self._idle_seconds = idle_seconds
        self._by_id: OrderedDict[str, McpSession] = OrderedDict()
        self._by_session: dict[str, dict[str, McpSession]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def full(self) -> bool:
        """Say that `remember` would refuse a new one."""
        return len(self._by_id) >= self._limit

    def find(self, id: str, session: str, now: float) -> McpSession | None:  # noqa: A002
        """Return the MCP session that `session` began under `id`; one of others is unknown."""
        found = self._by_id.get(id)
        if found is None or found.session != session:
            return None
        found.used = now
        self._by_id.move_to_end(id)
        return found

    def remember(self, id: str, session: str, upstream_id: bytes, now: float) -> McpSession | None:  # noqa: A002
        """Add one; None when the table is full or the id is taken."""
        if self.full or id in self._by_id:
            return None
        added = McpSession(id, session, upstream_id, now)
        self._by_id[id] = added
        self._by_session.setdefault(session, {})[id] = added
        return added

    def forget(self, gone: McpSession) -> None:
        """Drop one; nothing happens when it is gone already."""
        if self._by_id.get(gone.id) is not gone:
            return
        del self._by_id[gone.id]
        siblings = self._by_session[gone.session]
        del siblings[gone.id]
        if not siblings:
            del self._by_session[gone.session]

    def forget_session(self, session: str) -> list[McpSession]:
        """Drop and return all that `session` began."""
        gone = list(self._by_session.get(session, {}).values())
        for one in gone:
            self.forget(one)
        return gone

    def forget_idle(self, now: float) -> list[McpSession]:
        """Drop and return those unused for the idle time, beginning with the oldest."""
        gone: list[McpSession] = []
        while self._by_id:
            oldest = next(iter(self._by_id.values()))
            if now - oldest.used < self._idle_seconds:
                break
            if oldest.exchanges:
                oldest.used = now
                self._by_id.move_to_end(oldest.id)
                continue
            self.forget(oldest)
            gone.append(oldest)
        return gone


class Farewells:
    """Tells the upstream, a few at a time, which MCP sessions nobody will use again.

    Best effort: an answer of any kind, or none, ends the matter. `send` begins one exchange.
    """

    def __init__(
        self, send: "Callable[[UpstreamRequest, bytes, Farewell], None]", limit: int
    ) -> None:
        self._send = send
        self._limit = limit
        self._waiting: deque[McpSession] = deque()
        self._running = 0

    def say(self, gone: McpSession) -> None:
        """Send a DELETE for an MCP session, now or when an earlier one is through."""
        if len(self._waiting) >= self._limit:
            return
        self._waiting.append(gone)
        self._next()

    def one_is_through(self) -> None:
        """Make room for the next."""
        self._running -= 1
        self._next()

    def stop(self) -> None:
        """Send no more."""
        self._waiting.clear()

    def _next(self) -> None:
        while self._waiting and self._running < _FAREWELLS_AT_ONCE:
            gone = self._waiting.popleft()
            self._running += 1
            request = UpstreamRequest("DELETE", [], b"", None, gone.session, gone.id)
            request.user = gone.user  # whose credential the upstream has to be shown
            self._send(request, gone.upstream_id, Farewell(self))


class Farewell:
    """The reply to a DELETE of ours, which nobody reads."""

    def __init__(self, farewells: Farewells) -> None:
        self._farewells: Farewells | None = farewells

    def head(self, status: int, headers: Headers, end: bool = False) -> None:
        """Take the answer for read."""
        if end:
            self._through()

    def data(self, chunk: bytes, end: bool = False) -> bool:
        """Let the body pass."""
        if end:
            self._through()
        return True

    def fail(self, code: ResetCode, detail: str) -> None:
        """Leave the MCP session to the upstream's own idle time."""
        self._through()

    def _through(self) -> None:
        farewells, self._farewells = self._farewells, None
        if farewells is not None:
            farewells.one_is_through()
