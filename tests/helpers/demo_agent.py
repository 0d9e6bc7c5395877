"""The demo's agent: the MCP SDK's client with a URL and a token, and a voice."""

import asyncio
import json
import re
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
from mcp import Client, MCPError
from mcp.client.client import ConnectMode
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ContentBlock, TextContent

from tests.helpers.stage import Stage, StageError, milliseconds

CALL_SECONDS = 60.0
SHOWN_CHARACTERS = 200


class DemoAgent:
    """Calls servers at the relay with one token for each."""

    def __init__(self, stage: Stage, origin: str, tunnel: str) -> None:
        self._stage = stage
        self._origin = origin
        self._tunnel = tunnel
        self.trust = ssl.create_default_context()
        self.tokens: dict[str, str] = {}

    def url(self, upstream: str) -> str:
        """Where the agent reaches a server."""
        return f"{self._origin}/t/{self._tunnel}/{upstream}/mcp"

    @asynccontextmanager
    async def connect(self, upstream: str, mode: ConnectMode = "auto") -> AsyncIterator[Client]:
        """Connect to a server as any agent does."""
        headers = {"Authorization": f"Bearer {self.tokens[upstream]}"}
        timeout = httpx2.Timeout(10, read=CALL_SECONDS)
        async with httpx2.AsyncClient(headers=headers, verify=self.trust, timeout=timeout) as http:
            transport = streamable_http_client(self.url(upstream), http_client=http)
            async with Client(transport, mode=mode) as client:
                yield client

    async def introduce(self, name: str, client: Client) -> None:
        """Say what a server speaks and offers."""
        tools = ", ".join(tool.name for tool in (await client.list_tools()).tools)
        self._stage.say(f"   - {name} speaks MCP {client.protocol_version}; tools: {tools}")

    async def show_call(
        self, client: Client, tool: str, arguments: Mapping[str, Any], expected: str
    ) -> None:
        """Call a tool and show the answer; raises StageError unless `expected` is in it."""
        began = time.perf_counter()
        text = await call(client, tool, arguments)
        if expected not in text:
            raise StageError(f"{tool} answered {text[:500]!r}")
        shown = " ".join(text.split()) if text.startswith("{") else text
        shown = shown if len(shown) < SHOWN_CHARACTERS else shown[:SHOWN_CHARACTERS] + "..."
        self._stage.say(f"   - {tool}({json.dumps(arguments)})  [{milliseconds(began)}]")
        self._stage.note(shown)

    async def show_pending(self, client: Client, tool: str, arguments: Mapping[str, Any]) -> str:
        """Call a tool that a person has to approve; show the answer and return the approval's id.

        Raises StageError when it was answered in any other way.
        """
        with anyio.fail_after(CALL_SECONDS):
            result = await client.call_tool(tool, dict(arguments))
        text = _text(result.content)
        pending = re.match(r"approval pending: ([0-9a-f]{12})\.", text)
        if not result.is_error or pending is None:
            raise StageError(f"{tool} did not wait for a person: {text[:500]!r}")
        self._stage.say(f"   - {tool}({json.dumps(arguments)})")
        self._stage.note(text)
        return pending[1]

    async def show_progress(self, client: Client) -> None:
        """Make a call that reports its progress and show when each report came."""
        began = time.perf_counter()
        heard: list[str] = []

        async def progressed(progress: float, total: float | None, message: str | None) -> None:
            heard.append(f"{message} after {milliseconds(began)}")

        with anyio.fail_after(CALL_SECONDS):
            result = await client.call_tool(
                "export_tickets", {"pages": 3, "pause": 0.2}, progress_callback=progressed
            )
        if len(heard) != 3 or result.is_error:
            raise StageError(f"three progress reports were due, heard {heard}")
        self._stage.say("   - export_tickets, which reports its progress")
        self._stage.note("\n".join(heard))
        self._stage.note(f"{_text(result.content)}  [{milliseconds(began)}]")

    async def endless_call(self, running: asyncio.Event) -> tuple[str, float]:
        """Make a call that lasts a minute; returns what it was told at the end, and when.

        `running` is set once the call has reported progress. Raises StageError for a result.
        """

        async def progressed(progress: float, total: float | None, message: str | None) -> None:
            running.set()

        asked = {"pages": 600, "pause": 0.1}
        async with self.connect("tickets") as tickets:
            try:
                with anyio.fail_after(CALL_SECONDS):
                    await tickets.call_tool("export_tickets", asked, progress_callback=progressed)
            except MCPError as error:
                return f"JSON-RPC error {error.code}: {error.message}", time.time()
        raise StageError("the call was not cut")


async def call(client: Client, tool: str, arguments: Mapping[str, Any]) -> str:
    """Call a tool and return its text; raises StageError when it failed."""
    with anyio.fail_after(CALL_SECONDS):
        result = await client.call_tool(tool, dict(arguments))
    text = _text(result.content)
    if result.is_error:
        raise StageError(f"{tool} failed: {text}")
    return text


def _text(content: Sequence[ContentBlock]) -> str:
    return "".join(block.text for block in content if isinstance(block, TextContent))
