"""What uvicorn's own protocols get of a request that is not for the MCP endpoint. Pure."""

import asyncio

import httptools

from shared.link.reading import Reader
from tunnel_relay.gateway.answers import Headers
from tunnel_relay.gateway.checks import Request

_FRAMING = frozenset((b"connection", b"content-length", b"transfer-encoding", b"expect"))


class HandedOver:
    """Stands as the exchange of a connection that another protocol answers on now."""

    def connection_resumed(self) -> None:
        """Nothing of ours was held back."""

    def connection_lost(self) -> None:
        """Nothing of ours ends."""


class Closed(asyncio.Transport):
    """Stands as the transport of a connection that is lost, or another protocol's by now."""

    def is_closing(self) -> bool:
        """Nothing can be written any more."""
        return True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Nobody gets it."""

    def close(self) -> None:
        """It is."""

    def abort(self) -> None:
        """It is."""


HANDED_OVER = HandedOver()
# A connection, its parser and its transport hold each other. Unless these take their place, they
# stay in memory, 300 KiB of TLS buffers included, until the collector comes by, which is rarely.
SPENT = (httptools.HttpRequestParser(object()), Closed())


def switch(transport: asyncio.Transport, protocol: asyncio.Protocol | Reader) -> None:
    """Let the transport read for another protocol.

    uvloop decides when it starts to read which of the two kinds of protocol it reads for.
    """
    reading = transport.is_reading()
    if reading:
        transport.pause_reading()
    transport.set_protocol(protocol)
    if reading:
        transport.resume_reading()


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
