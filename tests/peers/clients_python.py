"""The Python SDK's client as a peer, in either of its modes.

python -m tests.peers.clients_python auto|legacy TARGET.json
"""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextContent

from tests.peers import steps
from tests.peers.scenario import Target, ToolCall, read_target, read_token

# What the SDK gives a client it makes itself.
HTTP_TIMEOUT = httpx2.Timeout(30, read=300)


class SdkPeer:
    """A connected `mcp.Client`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def era(self) -> str:
        """The protocol version agreed on."""
        return self._client.protocol_version

    async def tools(self) -> list[str]:
        """Return the names of all tools."""
        names: list[str] = []
        cursor: str | None = None
        while True:
            page = await self._client.list_tools(cursor=cursor)
            names += [tool.name for tool in page.tools]
            cursor = page.next_cursor
            if cursor is None:
                return names

    async def call(
        self, call: ToolCall, on_progress: Callable[[], None] | None = None
    ) -> steps.Answer:
        """Call a tool; cancelling the awaiting task cancels the call at the server."""

        async def progressed(progress: float, total: float | None, message: str | None) -> None:
            assert on_progress is not None
            on_progress()

        result = await self._client.call_tool(
            call["tool"],
            call["arguments"],
            progress_callback=progressed if on_progress is not None else None,
        )
        text = "".join(b.text for b in result.content if isinstance(b, TextContent))
        return steps.Answer(text, bool(result.is_error))


@asynccontextmanager
async def connect(target: Target, mode: str) -> AsyncIterator[SdkPeer]:
    """Connect over HTTP with the bearer token, or over the SDK's own stdio transport."""
    async with AsyncExitStack() as stack:
        if "url" in target:
            token = read_token(target)
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            http = await stack.enter_async_context(
                httpx2.AsyncClient(headers=headers, timeout=HTTP_TIMEOUT)
            )
            client = Client(streamable_http_client(target["url"], http_client=http), mode=mode)
        else:
            command, *arguments = target["argv"]
            client = Client(StdioServerParameters(command=command, args=arguments), mode=mode)
        yield SdkPeer(await stack.enter_async_context(client))


def main() -> None:
    """Run the steps of the target file in the mode named first."""
    mode, path = sys.argv[1:]
    target = read_target(Path(path))
    anyio.run(steps.run, lambda: connect(target, mode), target)


if __name__ == "__main__":
    main()
