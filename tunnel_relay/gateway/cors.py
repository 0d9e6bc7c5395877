"""What lets a page of an allowed origin read an answer. Pure."""

from tunnel_relay.gateway import answers
from tunnel_relay.gateway.answers import Answer, Headers
from tunnel_relay.gateway.checks import Request


def headers(request: Request) -> Headers:
    """Return the fields for an origin that passed the checks; nothing where none was sent."""
    origin = request.fields.get(b"origin")
    if origin is None:
        return []
    return [
        (b"access-control-allow-origin", origin),
        (
            b"access-control-expose-headers",
            b"mcp-session-id, mcp-protocol-version, www-authenticate",
        ),
        (b"vary", b"origin"),
    ]


def preflight(request: Request) -> Answer:
    """Answer the question a browser asks before it sends what a page wants to send."""
    return Answer(204, b"", [*headers(request), *answers.PREFLIGHT])


def other_method(request: Request) -> Answer:
    """Answer a method that is not MCP's: a browser's question, or one that is not allowed."""
    if request.method == b"OPTIONS" and b"origin" in request.fields:
        return preflight(request)
    return answers.METHOD_NOT_ALLOWED
