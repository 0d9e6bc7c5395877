"""The whole upstream with real servers and the SDK's client, through an HTTP front."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import mcp_types
import pytest
from mcp import Client

from shared.jsonrpc.envelope import parse
from tests.helpers.upstream_front import served
from tests.helpers.upstream_peer import DEADLINE
from tunnel_client.upstream.base import Headers, UpstreamRequest
from tunnel_client.upstream.stdio import StdioUpstream, is_modern
from tunnel_client.upstream.stdio_command import StdioCommand

BIN = Path(sys.executable).parent
TIME = StdioCommand((str(BIN / "mcp-server-time"),))
MODERN_META = b'"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}'


@asynccontextmanager
async def serving(command: StdioCommand) -> AsyncIterator[tuple[StdioUpstream, str]]:
    upstream = StdioUpstream("real", command)
    await upstream.start()
    try:
        async with served(upstream) as url:
            yield upstream, url
    finally:
        await upstream.aclose()
        assert upstream.children == 0


@pytest.mark.parametrize(
    ("method", "version", "body", "modern"),
    [
        ("GET", None, b"", False),
        ("GET", b"2026-07-28", b"", True),
        ("POST", None, b'{"jsonrpc":"2.0","id":1,"method":"ping"}', False),
        ("POST", b"2025-11-25", b'{"jsonrpc":"2.0","id":1,"method":"ping"}', False),
        ("POST", b"1999-01-01", b'{"jsonrpc":"2.0","id":1,"method":"ping"}', True),
        ("POST", b"2027-01-01", b'{"jsonrpc":"2.0","id":1,"method":"initialize"}', True),
        ("POST", None, b'{"jsonrpc":"2.0","id":1,"method":"initialize"}', False),
    ],
)
def test_the_version_header_tells_the_era(
    method: str, version: bytes | None, body: bytes, modern: bool
) -> None:
    headers: Headers = [] if version is None else [(b"mcp-protocol-version", version)]
    envelope = parse(body) if body else None
    request = UpstreamRequest(method, headers, body, envelope, "s", None)
    assert is_modern(request) is modern


def test_a_modern_body_under_a_legacy_header_is_no_downgrade() -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{%b}}' % MODERN_META
    for headers in ([], [(b"mcp-protocol-version", b"2025-11-25")]):
        request = UpstreamRequest("POST", headers, body, parse(body), "s", "m")
        assert is_modern(request)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_sdk_client_uses_a_real_stdio_server(mode: Any) -> None:
    async with serving(TIME) as (upstream, url):
        with anyio.fail_after(60):
            async with Client(url, mode=mode) as client:
                tools = await client.list_tools()
                assert "get_current_time" in [tool.name for tool in tools.tools]
                result = await client.call_tool("get_current_time", {"timezone": "UTC"})
                assert not result.is_error
                bad = await client.call_tool("get_current_time", {"timezone": "Nowhere/None"})
                assert bad.is_error
        assert upstream.children == 1


async def test_agents_of_both_eras_share_one_upstream(tmp_path: Path) -> None:
    """H27: the SDK's clients all count their ids from the same number."""
    git = ["git", "-C", str(tmp_path)]
    await asyncio.to_thread(subprocess.run, [*git, "init", "-q"], check=True)
    command = StdioCommand((str(BIN / "mcp-server-git"), "--repository", str(tmp_path)))
    async with serving(command) as (_, url):

        async def ask(mode: Any, number: int) -> None:
            async with Client(url, mode=mode) as client:
                name = f"branch-{mode}-{number}"
                arguments = {"repo_path": str(tmp_path), "revision": name}
                for _ in range(5):
                    result = await client.call_tool("git_show", arguments)
                    assert isinstance(result.content[0], mcp_types.TextContent)
                    assert name in result.content[0].text

        with anyio.fail_after(4 * DEADLINE):
            await asyncio.gather(
                *(ask(mode, number) for number in range(3) for mode in ("auto", "legacy"))
            )
