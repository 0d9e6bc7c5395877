"""One HTTP/1.1 request over a connection we dialled; for enrolment and `doctor`, not for agents."""

import asyncio
from typing import cast

import httptools

from tunnel_client.errors import ConnectError, EnrolRefusedError

MAX_ANSWER_BYTES = 64 * 1024


class OneExchange(asyncio.Protocol):
    """Sends one request and keeps the whole answer, at most 64 KiB."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._parser = httptools.HttpResponseParser(self)
        self._taken = 0
        self._body = bytearray()
        self._framed = False
        self._fields: dict[bytes, bytes] = {}
        self._complete_head = False
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()

    async def answer(self) -> tuple[int, bytes]:
        """Wait for status and body; raises ConnectError and EnrolRefusedError."""
        return await self._answer

    def field(self, name: bytes) -> bytes:
        """Return a header field that came, its name in lower case; empty if there is none."""
        return self._fields.get(name, b"")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._taken += len(data)
        if self._answer.done():
            return
        if self._taken > MAX_ANSWER_BYTES:
            self._fail(EnrolRefusedError("the relay's answer is larger than 64 KiB"))
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail(EnrolRefusedError("the answer is not HTTP; is this a relay?"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, from the parser."""
        self._fields[name.lower()] = value
        self._framed |= name.lower() in (b"content-length", b"transfer-encoding")

    def on_headers_complete(self) -> None:
        """The end of a head, from the parser."""
        self._complete_head = self._parser.get_status_code() >= 200

    def on_body(self, body: bytes) -> None:
        """A part of the body, from the parser."""
        self._body += body

    def on_message_complete(self) -> None:
        """The end of the answer, from the parser."""
        status = self._parser.get_status_code()
        if status >= 200 and not self._answer.done():  # 1xx come before the answer itself
            self._answer.set_result((status, bytes(self._body)))

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None and self._complete_head and not self._framed:
            self.on_message_complete()  # such a body ends with the connection (RFC 9112 6.3)
        self._fail(ConnectError("the relay hung up before it answered"))

    def _fail(self, error: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(error)
        if self._transport is not None:
            self._transport.abort()


def write_post(path: str, host: str, body: bytes) -> bytes:
    """Write a JSON POST after which the server closes the connection (RFC 9112)."""
    head = (
        f"POST {path} HTTP/1.1\r\n"
        f"Host: {host}\r\n"
        "Content-Type: application/json\r\n"
        "Accept: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
