"""One request that passed the checks, and which era it belongs to."""

from collections.abc import Callable
from typing import Any

from shared.jsonrpc.envelope import MODERN, Envelope, Kind
from shared.jsonrpc.headers import VERSION_HEADER
from shared.policy.model import Decision
from shared.wire.codec import OpenHead, encode_open
from tunnel_relay.gateway.checks import Request
from tunnel_relay.gateway.claims import RESUMED, Claim, read_claim
from tunnel_relay.gateway.headers import forwarded
from tunnel_relay.gateway.states import For
from tunnel_relay.store.base import Session

_MODERN = MODERN.encode()
LISTEN = "subscriptions/listen"


Edit = Callable[[dict[str, Any]], dict[str, Any] | None]


class Call:
    """A request on its way to an upstream; `mcp_session` is the relay's own id or "".

    `permit` is what humans signed for this very call, or "". `state_ends` is when the state that it
    used up would have ended, 0 when it used none; `what` is what it asks for, where that matters.
    `edit` has to see the response before the agent. `decision` is the relay's own policy's,
    None for what no rule is asked about.
    """

    __slots__ = (
        *("body", "claim", "decision", "edit", "envelope", "initializes", "instance"),
        *("mcp_session", "message_id", "modern", "permit", "pushes", "request", "session"),
        *("state_ends", "trace", "what"),
    )

    def __init__(self, request: Request, session: Session, envelope: Envelope | None) -> None:
        self.request = request
        self.session = session
        self.mcp_session = self.permit = ""
        self.message_id = envelope.id if envelope is not None else None
        self.modern = is_modern(request, envelope)
        self.trace = b""
        """The member of its intent that names a trace."""
        self.state_ends = 0.0
        self.what: For = ("", None)
        self.claim: Claim | None = None
        self.envelope = envelope
        self.instance: str | None = None
        """The only client instance that can serve it, when it belongs to an MCP session."""
        self.body = b""
        """The request's, while an approval may still be asked for it."""
        self.edit: Edit | None = None
        self.decision: Decision | None = None
        if envelope is not None:
            self.claim = read_claim(envelope, self.modern)
            if self.claim is not None:
                self.what = envelope.method or "", envelope.name
        elif request.method == b"GET":
            self.claim = RESUMED
        self.pushes = request.method == b"GET" if envelope is None else envelope.method == LISTEN
        """It has no answer of its own: its stream brings what the server has to say, for ever."""
        self.initializes = (
            not self.modern
            and envelope is not None
            and envelope.method == "initialize"
            and envelope.kind is Kind.REQUEST
        )

    def sent(self) -> None:
        """Its answer has begun: nobody asks for an approval any more."""
        self.body = b""

    @property
    def is_read(self) -> bool:
        """Does somebody look at the answer as it passes?"""
        return self.claim is not None or self.edit is not None

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
