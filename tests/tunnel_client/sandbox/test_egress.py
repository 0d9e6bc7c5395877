"""The proxy reaches what is listed, and refuses the rest in words."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.helpers.upstream_peer import eventually
from tunnel_client.sandbox import egress
from tunnel_client.sandbox.egress import Egress

DEADLINE = 15.0


@asynccontextmanager
async def proxy(*hosts: str) -> AsyncIterator[str]:
    running = Egress("x", hosts)
    place = await running.start()
    try:
        yield place
    finally:
        await running.aclose()
        assert not Path(place).parent.exists()


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            writer.write(chunk)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def said(place: str, request: bytes) -> bytes:
    """Return all that the proxy answers to a request that is never followed by anything."""
    with anyio.fail_after(DEADLINE):
        reader, writer = await asyncio.open_unix_connection(place)
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer


def connect(host: str) -> bytes:
    return f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


async def test_bytes_pass_both_ways_and_an_end_is_passed_on() -> None:
    async with echo() as port, proxy(f"127.0.0.1:{port}") as place:
        with anyio.fail_after(DEADLINE):
            reader, writer = await asyncio.open_unix_connection(place)
            writer.write(connect(f"127.0.0.1:{port}"))
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 200 Connected\r\n\r\n"
            sent = os.urandom(1_000_000)
            writer.write(sent)
            writer.write_eof()
            assert await reader.read(-1) == sent
            writer.close()


@pytest.mark.parametrize(
    "host",
    [
        *("10.0.0.1:443", "api.example.com:80", "example.com:443", "api.example.com.:443"),
        *("127.1:443", "2130706433:443", "user@api.example.com:443", "169.254.169.254:80"),
        *("[::ffff:127.0.0.1]:443", "api.example.com", "api.example.com:0443", "localhost:443"),
    ],
)
async def test_what_is_not_listed_is_refused(host: str) -> None:
    """R01: whatever the spelling."""
    async with proxy("api.example.com:443", "127.0.0.1:443") as place:
        assert (await said(place, connect(host))).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET http://api.example.com/ HTTP/1.1\r\n\r\n", 405),
        (b"CONNECT\r\n\r\n", 405),
        (b"\x16\x03\x01\r\n\r\n", 405),
        (b"x" * 20_000, 400),
    ],
)
async def test_only_connect_is_served(request_bytes: bytes, status: int) -> None:
    async with proxy("api.example.com:443") as place:
        assert (await said(place, request_bytes)).startswith(f"HTTP/1.1 {status} ".encode())


async def test_a_listed_name_does_not_lead_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """R02: the answer of the name server is judged, and asked for once."""
    asked = 0

    async def resolve(self: Any, host: str, port: int, **more: Any) -> Any:
        nonlocal asked
        asked += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async with echo() as port, proxy(f"inside.example.com:{port}") as place:
        monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", resolve)
        answer = await said(place, connect(f"inside.example.com:{port}"))
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert b"private address" in answer
    assert asked == 1


async def test_a_host_that_is_down_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        async with proxy(host) as place:
            assert (await said(place, connect(host))).startswith(b"HTTP/1.1 502 ")


async def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress, "MAX_CONNECTIONS", 2)
    async with proxy("127.0.0.1:1") as place:
        with anyio.fail_after(DEADLINE):
            held = [await asyncio.open_unix_connection(place) for _ in range(2)]
            reader, writer = await asyncio.open_unix_connection(place)
            assert await reader.read() == b""
            for _, each in [*held, (reader, writer)]:
                each.close()


async def test_the_end_cuts_what_is_open() -> None:
    async with echo() as port:
        async with proxy(f"127.0.0.1:{port}") as place:
            reader, writer = await asyncio.open_unix_connection(place)
            writer.write(connect(f"127.0.0.1:{port}"))
            await reader.readuntil(b"\r\n\r\n")
        await eventually(reader.at_eof)
        writer.close()
