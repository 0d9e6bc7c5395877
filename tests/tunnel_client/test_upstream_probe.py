"""Asking real MCP servers of either kind which versions they speak."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from tests.helpers.fixture_process import http_fixture
from tests.helpers.sandboxes import agreed
from tunnel_client import upstream_probe
from tunnel_client.consent.guard import Guards
from tunnel_client.errors import ClientError
from tunnel_client.errors_upstreams import NotConsentedError, UpstreamTestError
from tunnel_client.settings import UpstreamSettings
from tunnel_client.upstream_probe import Report, probe_upstream, verdict

NONE = Guards(Path("/nonexistent"), ())
LEGACY_ANSWER = {
    "jsonrpc": "2.0",
    "id": 1,
    "result": {"protocolVersion": "2025-06-18", "serverInfo": {"name": "old\x1b[31m"}},
}


@contextlib.asynccontextmanager
async def answering(kind: str, body: bytes, method: bytes = b"") -> AsyncIterator[str]:
    """Serve `body` to what names `method`, and 404 to the rest."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).lower().decode()
            length = int(head.partition("content-length: ")[2].split("\r\n")[0])
            known = method in await reader.readexactly(length)
            writer.write(
                b"HTTP/1.1 %d X\r\nContent-Type: %s\r\nConnection: close\r\n\r\n%s"
                % (200 if known else 404, kind.encode(), body if known else b"")
            )
            await writer.drain()
        writer.transport.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
    finally:
        server.close()


async def test_an_http_server_of_both_eras_is_recognised() -> None:
    with anyio.fail_after(60):
        async with http_fixture() as url:
            report = await probe_upstream(UpstreamSettings(name="x", url=url), {}, NONE)
    assert report == Report(("2026-07-28",), "2025-11-25", "conformance-fixture 1")


async def test_a_stdio_server_is_recognised_and_gone_afterwards(tmp_path: Path) -> None:
    time = UpstreamSettings(name="time", command=[sys.executable, "-m", "mcp_server_time"])
    with pytest.raises(NotConsentedError):
        await probe_upstream(time, {}, Guards(tmp_path / "state", ()))
    guards = agreed(tmp_path / "state", time, {})
    with anyio.fail_after(60):
        report = await probe_upstream(time, {}, guards)
    assert report.modern == ("2026-07-28",)
    assert verdict("time", report).startswith("ok: time is mcp-time")


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
async def test_an_old_server_is_recognised_and_its_name_tamed(kind: str) -> None:
    text = json.dumps(LEGACY_ANSWER)
    body = text if kind == "application/json" else f": hi\n\nevent: message\ndata: {text}\n\n"
    with anyio.fail_after(30):
        async with answering(kind, body.encode(), b"initialize") as url:
            report = await probe_upstream(UpstreamSettings(name="x", url=url), {}, NONE)
    assert report == Report((), "2025-06-18", "old?[31m")
    assert verdict("x", report) == "ok: x is old?[31m, speaks legacy (2025-06-18)"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<html>hello</html>", "not as an MCP server"),
        (b"", "not as an MCP server"),
        (b"[" * 9000, "not as an MCP server"),
        (b'{"result": 1}', "refused to introduce itself"),
        (b'{"error": {"code": 1}}', "refused to introduce itself"),
        (b'{"result": {"protocolVersion": 7}}', "no version we know"),
        (b"x" * (1024 * 1024 + 1), "larger than 1 MiB"),
    ],
)
async def test_what_is_no_mcp_server_is_told(body: bytes, why: str) -> None:
    with anyio.fail_after(30):
        async with answering("application/json", body) as url:
            with pytest.raises(UpstreamTestError, match=why):
                await probe_upstream(UpstreamSettings(name="x", url=url), {}, NONE)


async def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_probe, "PROBE_SECONDS", 0.2)
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
    with anyio.fail_after(30):
        with pytest.raises(UpstreamTestError, match="no answer within"):
            await probe_upstream(UpstreamSettings(name="x", url=url), {}, NONE)
    server.close()


async def test_what_a_program_said_before_it_ended_is_told_without_its_secrets(
    tmp_path: Path,
) -> None:
    secret = tmp_path / "secret"
    secret.touch(0o600)
    secret.write_text("canary-6c1f0a9e77")
    code = "import os, sys; print('no key', os.environ['TOKEN'], file=sys.stderr); sys.exit(3)"
    settings = UpstreamSettings.model_validate(
        {
            "name": "x",
            "command": [sys.executable, "-c", code],
            "env": {"TOKEN": f"file:{secret}"},
            "sandbox": {"level": "off"},
        }
    )
    guards = agreed(tmp_path / "state", settings, {}, dangers=True)
    with anyio.fail_after(60):
        with pytest.raises(UpstreamTestError) as caught:
            await probe_upstream(settings, {}, guards)
    said = "x: its program ended with status 3; it said last: no key [hidden]"
    assert caught.value.cause == said
    assert "tunnel-client upstream test x" in caught.value.next
    assert "url" not in caught.value.next


async def test_a_program_that_ends_at_once_is_told(tmp_path: Path) -> None:
    settings = UpstreamSettings(name="x", command=[sys.executable, "-c", "pass"])
    with anyio.fail_after(60):
        with pytest.raises(ClientError, match="x: "):
            await probe_upstream(settings, {}, agreed(tmp_path / "state", settings, {}))
