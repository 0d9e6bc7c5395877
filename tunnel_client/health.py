"""The client's health port: GET on loopback, one small answer a connection, all of it bounded."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import cast

import httptools
import structlog

from tunnel_client.errors import HealthPortError

log = structlog.get_logger("tunnel_client.health")

MAX_HEAD_BYTES = 8 * 1024
MAX_CONNECTIONS = 16
SECONDS = 5.0
"""For a whole connection."""
NAMES = frozenset(("localhost", "127.0.0.1", "[::1]"))
"""What a request may call us: a web page that rebinds its own name to loopback is turned away."""

Page = Callable[[], tuple[int, str, bytes]]
"""Makes one answer: HTTP status, media type, body."""
_TEXT = "text/plain; charset=utf-8"
_REASONS = {
    200: b"OK",
    400: b"Bad Request",
    404: b"Not Found",
    405: b"Method Not Allowed",
    421: b"Misdirected Request",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
}


def json_page(status: int, shown: object) -> tuple[int, str, bytes]:
    """Return an answer that is JSON."""
    return status, "application/json", json.dumps(shown).encode()


@asynccontextmanager
async def health_port(
    place: tuple[str, int] | None, pages: Mapping[str, Page]
) -> AsyncIterator[None]:
    """Serve while the context is open; None: nothing listens. Raises HealthPortError."""
    if place is None:
        yield
        return
    live: set[Connection] = set()
    try:
        server = await asyncio.get_running_loop().create_server(
            lambda: Connection(pages, live), place[0], place[1], backlog=MAX_CONNECTIONS
        )
    except OSError as error:
        raise HealthPortError(
            f"cannot listen on {place[0]}:{place[1]}: {error.strerror or error}"
        ) from None
    try:
        yield
    finally:
        server.close()
        for connection in list(live):
            connection.abort()


class Connection(asyncio.Protocol):
    """One request, one answer, closed."""

    def __init__(self, pages: Mapping[str, Page], live: "set[Connection]") -> None:
        self._pages = pages
        self._live = live
        self._parser = httptools.HttpRequestParser(self)
        self._taken = 0
        self._url = b""
        self._hosts: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._timer = asyncio.get_running_loop().call_later(SECONDS, self.abort)
        self._live.add(self)
        if len(self._live) > MAX_CONNECTIONS:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._live.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def abort(self) -> None:
        """Cut it, whatever it is doing."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._taken += len(data)
        if self._taken > MAX_HEAD_BYTES:
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self._transport.is_closing():
                self._answer(400, _TEXT, b"malformed\n")

    # The parser's -------------------------------------------------------------------------------

    def on_url(self, url: bytes) -> None:
        """A piece of the target came."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field came."""
        if name.lower() == b"host":
            self._hosts.append(value.strip().lower())

    def on_headers_complete(self) -> None:
        """The head is there: answer, and read no body."""
        if self._transport is None or self._transport.is_closing():
            return
        page = self._pages.get(self._url.partition(b"?")[0].decode("latin-1"))
        if not self._is_ours():
            self._answer(421, _TEXT, b"this is not a name of the health port\n")
        elif self._parser.get_method() != b"GET":
            self._answer(405, _TEXT, b"use GET\n", b"allow: GET\r\n")
        elif page is None:
            self._answer(404, _TEXT, b"there is /healthz, /readyz and /metrics\n")
        else:
            try:
                made = page()
            except Exception as error:  # noqa: BLE001 - a page that fails is no healthy client
                log.error("a health page failed", kind=type(error).__name__)
                made = 500, _TEXT, b"the client failed at this; its log says more\n"
            self._answer(*made)

    def _is_ours(self) -> bool:
        if len(self._hosts) != 1:
            return False
        host = self._hosts[0].decode("latin-1")
        name, colon, port = host.rpartition(":")
        if not colon or host.endswith("]"):
            name, port = host, "0"
        return name in NAMES and port.isascii() and port.isdigit()

    def _answer(self, status: int, media_type: str, body: bytes, more: bytes = b"") -> None:
        if self._transport is None:
            return
        head = (
            b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n"
            b"cache-control: no-store\r\nx-content-type-options: nosniff\r\n"
            b"connection: close\r\n%b\r\n"
        ) % (status, _REASONS[status], media_type.encode(), len(body), more)
        self._transport.write(head + body)
        self._transport.close()
