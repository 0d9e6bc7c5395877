"""Requests written anew for another protocol."""

import asyncio
from typing import cast

import uvloop

from shared.link.reading import Reader
from tunnel_relay.gateway.checks import Request
from tunnel_relay.gateway.handover import page_request, switch, upgrade_request


def made(method: bytes, *headers: tuple[bytes, bytes]) -> Request:
    request = Request()
    request.method, request.url, request.headers = method, b"/healthz", list(headers)
    return request


def test_a_page_is_asked_for_once_with_its_whole_body() -> None:
    request = made(
        b"POST", (b"host", b"r"), (b"transfer-encoding", b"chunked"), (b"expect", b"100-continue")
    )
    request.body = b"whole"
    assert page_request(request) == (
        b"POST /healthz HTTP/1.1\r\nhost: r\r\nconnection: close\r\ncontent-length: 5\r\n\r\nwhole"
    )


def test_a_page_without_a_body_gets_no_length() -> None:
    request = made(b"GET", (b"host", b"r"), (b"connection", b"keep-alive"))
    assert page_request(request) == (
        b"GET /healthz HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n"
    )


def test_an_upgrade_keeps_every_field() -> None:
    request = made(b"GET", (b"connection", b"upgrade"), (b"upgrade", b"websocket"))
    assert upgrade_request(request) == (
        b"GET /healthz HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    )


class First(Reader):
    """Hands its connection over on the first bytes."""

    def __init__(self, heard: list[bytes]) -> None:
        self.heard = heard

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes | memoryview) -> None:
        self.transport.write(data)
        switch(self.transport, Second(self.heard, self.transport))


class Second(asyncio.Protocol):
    """An ordinary protocol, as uvicorn's are."""

    def __init__(self, heard: list[bytes], transport: asyncio.Transport) -> None:
        self.heard = heard
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard.append(data)
        self.transport.close()


def test_who_takes_over_hears_what_comes_next() -> None:
    heard: list[bytes] = []

    async def talk() -> None:
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(lambda: First(heard), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        writer.write(b"two")
        assert await reader.read() == b""
        writer.close()
        listener.close()

    uvloop.run(talk())
    assert heard == [b"two"]
