"""One request that passed the checks, and which era it belongs to."""

from shared.jsonrpc.envelope import MODERN, Envelope, Kind
from shared.jsonrpc.headers import VERSION_HEADER
from shared.wire.codec import OpenHead, encode_open
from tunnel_relay.gateway.checks import Request
from tunnel_relay.gateway.headers import forwarded
from tunnel_relay.gateway.patience import KEPT_BYTES
from tunnel_relay.store.base import Session

_MODERN = MODERN.encode()


class Call:
    """A request on its way to an upstream; `mcp_session` is the relay's own id or "".

    `permit` is what humans signed for this very call, or "". `kept` is the body of a tool call,
    until its answer begins: somebody may have to look at it first.
    """

    __slots__ = (
        "initializes",
        "kept",
        "mcp_session",
        "message_id",
        "modern",
        "permit",
        "request",
        "session",
    )

    def __init__(self, request: Request, session: Session, envelope: Envelope | None) -> None:
        self.request = request
        self.session = session
        self.mcp_session = self.permit = ""
        self.message_id = envelope.id if envelope is not None else None
        self.kept = b""
        if envelope is not None and envelope.method == "tools/call":
            self.kept = request.body if len(request.body) <= KEPT_BYTES else b""
        self.modern = is_modern(request, envelope)
        self.initializes = (
            not self.modern
            and envelope is not None
            and envelope.method == "initialize"
            and envelope.kind is Kind.REQUEST
        )

    @property
    def runs_on(self) -> bool:
        """A legacy agent that leaves has not cancelled its call; a GET stream just ends."""
        return not self.modern and self.request.method == b"POST"

    def open_head(self) -> bytes:
        """Return the payload that opens the stream; raises TooBigError."""
        # A permit is for one call: nothing of it is remembered.
        request, known = self.request, None if self.permit else self.request.known
        if known is not None and known.open_head and known.mcp_session == self.mcp_session:
            return known.open_head
        payload = encode_open(
            OpenHead(
                self.session.upstream,
                request.method.decode(),
                self.session.id,
                self.mcp_session,
                forwarded(request.headers, request.fields.get(b"connection")),
                self.permit,
            )
        )
        if known is not None:
            known.mcp_session, known.open_head = self.mcp_session, payload
        return payload


def is_modern(request: Request, envelope: Envelope | None) -> bool:
    """Tell the era: by the body where it says so, else by the header.

    Modern only means that no MCP session id goes on to the upstream, so a forged header opens
    nothing.
    """
    if envelope is not None and envelope.is_modern:
        return True
    version = request.fields.get(VERSION_HEADER)
    return version is not None and version[:2] == b"20" and version >= _MODERN
