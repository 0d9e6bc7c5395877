"""Response heads on their way to the agent: what the relay takes out and puts in, written once."""

import asyncio
from typing import NamedTuple, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from shared.wire.codec import Headers, decode_head
from tunnel_relay.gateway import answers
from tunnel_relay.gateway.headers import returned

MAX_REMEMBERED = 512
MAX_LENGTH_DIGITS = 15
"""A petabyte; what claims to be longer goes out in chunks instead."""
MALFORMED = answers.Answer(400, b"malformed HTTP request\n", [(b"content-type", b"text/plain")])


class Response(Protocol):
    """What a connection tells the exchange that is being answered on it."""

    def connection_resumed(self) -> None:
        """The agent takes bytes again."""

    def connection_lost(self) -> None:
        """The agent is gone."""


class ResponseHead(NamedTuple):
    """A response head for an agent. `lines` is status and fields as bytes, the end still open.

    `length` is the announced length of the body, None when none was announced; `mcp_session` the
    MCP session id the client put in, if any.
    """

    status: int
    lines: bytes
    event_stream: bool
    length: bytes | None
    mcp_session: bytes | None


_remembered: dict[bytes, ResponseHead] = {}
"""Heads by the link's payload. The same bytes mean the same head, whoever it is for."""


def read_head(payload: bytes) -> ResponseHead:
    """Return the agent's head for the payload of a HEAD or RESPONSE frame; raises PeerError."""
    head = _remembered.get(payload)
    if head is None:
        head = _make(*decode_head(payload))
        if len(_remembered) >= MAX_REMEMBERED:
            _remembered.clear()
        _remembered[payload] = head
    return head


def _make(status: int, upstream: Headers) -> ResponseHead:
    event_stream = cached = buffered = False
    length: bytes | None = None
    parts = [STATUS_LINE[status]]
    for name, value in returned(upstream):
        if name == b"cache-control":
            if b"public" in value.lower():
                continue  # what is for this session is for nobody else
            cached = True
        elif name == b"x-accel-buffering":
            buffered = True
        elif name == b"content-type":
            event_stream = value[:17].lower() == b"text/event-stream"
        elif name == b"content-length":
            length = value if value.isdigit() and len(value) <= MAX_LENGTH_DIGITS else None
            continue
        parts += (name, b": ", value, b"\r\n")
    if not cached:
        parts.append(b"%b: %b\r\n" % answers.NO_STORE)
    if event_stream and not buffered:
        parts.append(b"x-accel-buffering: no\r\n")
    sessions = [value for name, value in upstream if name == b"mcp-session-id"]
    return ResponseHead(
        status, b"".join(parts), event_stream, length, sessions[0] if sessions else None
    )


def own_head(answer: answers.Answer) -> ResponseHead:
    """Return the head of an answer of the relay's own."""
    parts = [STATUS_LINE[answer.status]]
    for name, value in answer.headers:
        parts += (name, b": ", value, b"\r\n")
    return ResponseHead(answer.status, b"".join(parts), False, None, None)


def peer_of(transport: asyncio.BaseTransport) -> str:
    """Return the address at the other end of a connection."""
    address = transport.get_extra_info("peername")
    return str(address[0]) if isinstance(address, tuple) else ""
