"""One request that passed the checks, and which era it belongs to."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from shared.jsonrpc.envelope import MODERN, Envelope, Kind
from shared.jsonrpc.headers import VERSION_HEADER
from tunnel_relay.gateway.checks import Fields
from tunnel_relay.store.base import Session

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_MODERN = MODERN.encode()


class Call:
    """One request that passed the checks."""

    __slots__ = (
        "body",
        "envelope",
        "fields",
        "initializes",
        "mcp_session",
        "message_id",
        "method",
        "modern",
        "scope",
        "session",
    )

    def __init__(
        self,
        method: str,
        scope: Scope,
        fields: Fields,
        session: Session,
        envelope: Envelope | None,
        body: bytes,
    ) -> None:
        self.method = method
        self.scope = scope
        self.fields = fields
        self.session = session
        self.body = body
        self.mcp_session = ""
        self.envelope = envelope
        self.message_id = envelope.id if envelope is not None else None
        self.modern = is_modern(scope, envelope)
        self.initializes = (
            not self.modern
            and envelope is not None
            and envelope.kind is Kind.REQUEST
            and envelope.method == "initialize"
        )

    @property
    def runs_on(self) -> bool:
        """A legacy agent that leaves has not cancelled its call; a GET stream just ends."""
        return self.method == "POST" and not self.modern


def is_modern(scope: Scope, envelope: Envelope | None) -> bool:
    """Tell the era: by the body where there is one, by the header where there is none.

    Modern only means that no MCP session id goes on to the upstream, so a forged header opens
    nothing.
    """
    if envelope is not None and envelope.is_modern:
        return True
    for name, value in scope["headers"]:
        if name == VERSION_HEADER:
            return bool(value >= _MODERN and value[:2] == b"20")
    return False
