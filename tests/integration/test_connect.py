"""An agent that only speaks stdio, the bridge, relay, client and a private server: all real."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
import pytest_asyncio
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.helpers.fixture_process import http_fixture
from tests.helpers.tunnel import BIN, HttpUpstream, Lab, make_lab

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with http_fixture() as url, make_lab({"server": HttpUpstream(url)}) as made:
        yield made


async def token_file(lab: Lab, name: str) -> tuple[Path, str]:
    made = await lab.session("server")
    path = lab.folder / name
    path.touch(mode=0o600)
    path.write_text(made["token"] + "\n")
    return path, made["session"]["id"]


def bridge(lab: Lab, *words: str) -> StdioServerParameters:
    return StdioServerParameters(
        command=str(BIN / "tunnel-client"),
        args=["connect", lab.url("server"), "--state-dir", str(lab.folder / "agent"), *words],
        env={"PYTHONPATH": os.environ.get("PYTHONPATH", ""), "PYTHONWARNINGS": "default"},
    )


@asynccontextmanager
async def agent(lab: Lab, mode: Any, *words: str, **callbacks: Any) -> AsyncIterator[Client]:
    with (lab.folder / "bridge.log").open("a") as log:
        transport = stdio_client(bridge(lab, *words), errlog=log)
        async with Client(transport, mode=mode, **callbacks) as client:
            yield client


@pytest.mark.parametrize("mode", ["auto", "legacy", "2026-07-28"])
async def test_an_agent_connects_lists_and_calls(lab: Lab, mode: str) -> None:
    token, _ = await token_file(lab, f"token-{mode}")
    with anyio.fail_after(60):
        async with agent(lab, mode, "--token-file", str(token)) as client:
            assert "test_simple_text" in [tool.name for tool in (await client.list_tools()).tools]
            result = await client.call_tool("test_simple_text", {})
            assert isinstance(result, types.CallToolResult)
            assert not result.is_error
