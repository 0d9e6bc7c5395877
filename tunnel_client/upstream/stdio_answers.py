"""The HTTP answers that stand in front of a stdio server: statuses, headers, events, errors."""

import json
from typing import Any

import jiter

from shared.errors import TunnelError
from shared.jsonrpc.envelope import error_body
from tunnel_client.upstream.base import Headers, Reply, UpstreamRequest
from tunnel_client.upstream.stdio_pool import RefusedError

UNAVAILABLE = -31503
"""No process to serve this; outside the range JSON-RPC reserves, so nobody reads more into it."""
BUSY = -31429
"""More exchanges at once than are allowed."""
REQUEST_CANCELLED = -32800
"""What the Python SDK ends a cancelled legacy request's stream with."""

JSON: tuple[bytes, bytes] = (b"content-type", b"application/json")
EVENT_STREAM: Headers = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]
PING = b": ping\n\n"


class NotJsonError(TunnelError):
    """A line of a child is not a JSON-RPC message."""


def read_message(line: bytes) -> dict[str, Any]:
    """Return the JSON object on a line; raises NotJsonError."""
    try:
        message = jiter.from_json(line, cache_mode="keys")
    except ValueError:
        raise NotJsonError("not JSON") from None
    if type(message) is not dict or message.get("jsonrpc") != "2.0":
        raise NotJsonError("not a JSON-RPC object")
    if type(message.get("method", "")) is not str:
        raise NotJsonError("a method that is no string")
    return message


def one_line(body: bytes) -> bytes:
    """Return a JSON text without line breaks; in valid JSON they only stand between tokens."""
    if b"\n" in body or b"\r" in body:
        body = body.replace(b"\n", b" ").replace(b"\r", b" ")
    return body.strip()


def write_line(message: dict[str, Any]) -> bytes:
    """Write a message as one line."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()


def event(line: bytes) -> bytes:
    """Frame one message as the reference server does."""
    return b"event: message\ndata: " + line + b"\n\n"


def header(request: UpstreamRequest, name: bytes) -> str | None:
    """Return the first value of a header."""
    found = next((value for key, value in request.headers if key == name), None)
    return None if found is None else found.decode("latin-1")


def accepts(request: UpstreamRequest) -> tuple[bool, bool]:
    """Tell whether the agent takes JSON and whether it takes an event stream."""
    values = [value.decode("latin-1") for key, value in request.headers if key == b"accept"]
    kinds = {part.split(";")[0].strip().lower() for part in ",".join(values).split(",")}
    everything = "*/*" in kinds
    json_too = everything or not kinds.isdisjoint({"application/json", "application/*"})
    events_too = everything or not kinds.isdisjoint({"text/event-stream", "text/*"})
    return json_too, events_too


def answer(reply: Reply, status: int, body: bytes, more: Headers | None = None) -> None:
    """Send a whole JSON answer."""
    length = (b"content-length", str(len(body)).encode())
    reply.head(status, [JSON, length, *(more or [])])
    reply.data(body, end=True)


def empty(reply: Reply, status: int, more: Headers | None = None) -> None:
    """Send an answer without a body."""
    reply.head(status, [(b"content-length", b"0"), *(more or [])], end=True)


def refuse(
    reply: Reply,
    request: UpstreamRequest,
    status: int,
    code: int,
    message: str,
    more: Headers | None = None,
    data: dict[str, Any] | None = None,
) -> None:
    """Send a JSON-RPC error that echoes the request's id when it has one."""
    envelope = request.envelope
    # The id of a response belongs to the upstream's own request, which no error answers.
    identity = envelope.id if envelope is not None and envelope.method is not None else None
    answer(reply, status, error_body(identity, code, message, data), more)


def refuse_unsent(reply: Reply, request: UpstreamRequest, error: RefusedError) -> None:
    """Say that no process can serve this now and that nothing was sent to one."""
    seconds = str(max(1, round(error.retry_after))).encode()
    refuse(
        reply,
        request,
        503,
        UNAVAILABLE,
        f"The server behind the tunnel is not available: {error}",
        [(b"retry-after", seconds)],
        {"origin": "client", "delivery": "never_sent"},
    )


def refuse_busy(reply: Reply, request: UpstreamRequest) -> None:
    """Say that too much is going on at once and that nothing was sent."""
    refuse(
        reply,
        request,
        429,
        BUSY,
        "Too many requests at once for the server behind the tunnel",
        [(b"retry-after", b"1")],
        {"origin": "client", "delivery": "never_sent"},
    )
