"""A bounded event store, so that a legacy client can resume an SSE stream that was cut.

The SDK names a stream by its request id alone, which two MCP sessions may share. `SessionScope`
tells the store whose request is being served, so that one MCP session never replays another's
events.
"""

from collections import deque
from contextvars import ContextVar
from dataclasses import dataclass

from mcp.server.streamable_http import (
    MCP_SESSION_ID_HEADER,
    EventCallback,
    EventMessage,
    EventStore,
)
from mcp_types import JSONRPCMessage
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_EVENTS = 1000
_HEADER = MCP_SESSION_ID_HEADER.lower().encode("ascii")


@dataclass(slots=True)
class _Owner:
    session: str | None


# The SDK starts the tasks of a session while it serves `initialize`, so they keep that owner; its
# session id is filled in when the answer carries it.
_owner: ContextVar[_Owner | None] = ContextVar("event_owner", default=None)


@dataclass(frozen=True, slots=True)
class _Event:
    id: int
    owner: _Owner | None
    stream: str
    message: JSONRPCMessage | None

    def session(self) -> str | None:
        return self.owner.session if self.owner else None


class SessionScope:
    """ASGI middleware: remember the MCP session of the request for what is served below."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        owner = _Owner(_session_id(scope.get("headers", ())))
        _owner.set(owner)

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start" and owner.session is None:
                owner.session = _session_id(message.get("headers", ()))
            await send(message)

        await self._app(scope, receive, noting)


def _session_id(headers: list[tuple[bytes, bytes]]) -> str | None:
    return next((value.decode("latin-1") for name, value in headers if name == _HEADER), None)


class RecentEvents(EventStore):
    """Keep the latest `MAX_EVENTS` events of all streams in memory.

    An id that fell out of the store, or that belongs to another MCP session, replays nothing.
    """

    def __init__(self) -> None:
        self._events: deque[_Event] = deque(maxlen=MAX_EVENTS)
        self._last = 0

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        """Keep one event and return its id; a `None` message is the priming event."""
        self._last += 1
        self._events.append(_Event(self._last, _owner.get(), stream_id, message))
        return str(self._last)

    async def replay_events_after(
        self, last_event_id: str, send_callback: EventCallback
    ) -> str | None:
        """Send what followed `last_event_id` on its own stream, and return that stream's id."""
        owner = _owner.get()
        session = owner.session if owner else None
        mine = [event for event in self._events if event.session() == session]
        seen = next((event for event in mine if str(event.id) == last_event_id), None)
        if seen is None:
            return None
        for event in mine:
            if event.stream == seen.stream and event.id > seen.id and event.message is not None:
                await send_callback(EventMessage(event.message, str(event.id)))
        return seen.stream
