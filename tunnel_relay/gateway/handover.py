"""What uvicorn's own protocols get of a request that is not for the MCP endpoint. Pure."""

from tunnel_relay.gateway.answers import Headers
from tunnel_relay.gateway.checks import Request

_FRAMING = frozenset((b"connection", b"content-length", b"transfer-encoding", b"expect"))


class HandedOver:
    """Stands as the exchange of a connection that another protocol answers on now."""

    def connection_resumed(self) -> None:
        """Nothing of ours was held back."""

    def connection_lost(self) -> None:
        """Nothing of ours ends."""


HANDED_OVER = HandedOver()


def page_request(request: Request) -> bytes:
    """Write a request anew, its body whole, asking to close after the answer."""
    headers = [pair for pair in request.headers if pair[0] not in _FRAMING]
    headers.append((b"connection", b"close"))
    if request.body or request.method == b"POST":
        headers.append((b"content-length", b"%d" % len(request.body)))
    return _head(request, headers) + request.body


def upgrade_request(request: Request) -> bytes:
    """Write the head of a request for a WebSocket anew."""
    return _head(request, request.headers)


def _head(request: Request, headers: Headers) -> bytes:
    lines = [b"%b: %b\r\n" % pair for pair in headers]
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (request.method, request.url, b"".join(lines))
