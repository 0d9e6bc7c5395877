"""The health port, as anything on this machine may use it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.helpers.tunnel import free_port
from tunnel_client.errors import HealthPortError
from tunnel_client.health import MAX_CONNECTIONS, MAX_HEAD_BYTES, health_port, json_page

PAGES = {
    "/healthz": lambda: json_page(200, {"alive": True}),
    "/bad": lambda: json_page(503, {}),
    "/broken": lambda: json_page(200, object()),
}


@asynccontextmanager
async def a_port() -> AsyncIterator[int]:
    port = free_port()
    async with health_port(("127.0.0.1", port), PAGES):
        yield port


async def said(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def get(path: str, host: str = "localhost", method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


async def test_it_answers_and_closes() -> None:
    async with a_port() as port:
        for host in ("localhost", "127.0.0.1", f"127.0.0.1:{port}", "LOCALHOST:1", "[::1]:80"):
            answer = await said(port, get("/healthz?x", host))
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), host
            assert answer.endswith(b'\r\n\r\n{"alive": true}')
        assert (await said(port, get("/bad"))).startswith(b"HTTP/1.1 503 ")
        assert (await said(port, get("/broken"))).startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:80", "localhost:x", ""])
async def test_a_page_that_rebinds_its_name_reads_nothing(host: str) -> None:
    async with a_port() as port:
        answer = await said(port, get("/healthz", host))
        assert answer.startswith(b"HTTP/1.1 421 ")
        assert b"alive" not in answer


async def test_two_names_are_none() -> None:
    async with a_port() as port:
        twice = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n"
        assert (await said(port, twice)).startswith(b"HTTP/1.1 421 ")
        assert (await said(port, b"GET /healthz HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 421 ")


async def test_only_get_and_only_what_there_is() -> None:
    async with a_port() as port:
        for method in ("POST", "PUT", "DELETE", "HEAD", "OPTIONS"):
            answer = await said(port, get("/healthz", method=method))
            assert answer.startswith(b"HTTP/1.1 405 "), method
        assert (await said(port, get("/other"))).startswith(b"HTTP/1.1 404 ")
        assert (await said(port, b"\x16\x03\x01 what\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


async def test_a_head_without_end_is_cut() -> None:
    async with a_port() as port:
        endless = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * (MAX_HEAD_BYTES + 1)
        assert await said(port, endless) == b""


async def test_more_connections_than_there_is_room_for_are_cut() -> None:
    async with a_port() as port:
        held = [
            await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_CONNECTIONS + 1)
        ]
        last = held[-1][0]
        with suppress(ConnectionError):
            assert await last.read() == b""
        for _, writer in held:
            writer.close()


async def test_a_port_that_is_taken_is_a_clear_refusal() -> None:
    async with a_port() as port:
        with pytest.raises(HealthPortError, match="MT2340"):
            async with health_port(("127.0.0.1", port), PAGES):
                pass


async def test_nothing_listens_unless_asked() -> None:
    async with health_port(None, PAGES):
        pass
