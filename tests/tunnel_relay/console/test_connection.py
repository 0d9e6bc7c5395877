"""A connection that dawdles or talks too much is closed, before it costs anything."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest

from tests.tunnel_relay.console.stage import Stage, a_console
from tunnel_relay.console import connection


async def opened(stage: Stage) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    port = urlsplit(stage.url).port
    return await asyncio.open_connection("127.0.0.1", port)


@pytest.mark.parametrize("sent", [b"", b"GET /login HTT", b"GET /login HTTP/1.1\r\nHost: x\r\n"])
async def test_a_head_that_does_not_come_ends_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.1)
    async with a_console(tmp_path, people=False) as stage:
        reader, writer = await opened(stage)
        writer.write(sent)
        with anyio.fail_after(10):
            assert await reader.read() == b""
        writer.close()


async def test_a_second_head_is_waited_for_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.3)
    async with a_console(tmp_path, people=False) as stage:
        reader, writer = await opened(stage)
        host = urlsplit(stage.url).netloc.encode()
        writer.write(b"GET /login HTTP/1.1\r\nHost: " + host + b"\r\n\r\nGET /log")
        with anyio.fail_after(10):
            assert (await reader.read()).count(b"HTTP/1.1 200 OK") == 1
        writer.close()


async def test_a_head_that_is_too_large_is_refused(tmp_path: Path) -> None:
    async with a_console(tmp_path, people=False) as stage:
        for flood in (
            b"GET /" + b"a" * 40_000,
            b"GET / HTTP/1.1\r\nA: " + b"a" * 40_000,
            b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000,
        ):
            reader, writer = await opened(stage)
            writer.write(flood)
            writer.write(b"\r\n\r\n")
            with anyio.fail_after(10):
                answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 400")
            writer.close()
        assert (await stage.nobody().get("/login")).status_code == 200
