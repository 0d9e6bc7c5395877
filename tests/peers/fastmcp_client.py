"""The client of fastmcp as a peer; runs in an environment of its own.

python -m tests.peers.fastmcp_client TARGET.json
"""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport

from tests.peers import steps
from tests.peers.scenario import Target, ToolCall, read_target, read_token


class FastmcpPeer:
    """A connected `fastmcp.Client`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def era(self) -> str | None:
        """The protocol version agreed on."""
        version = self._client.protocol_version
        return None if version is None else str(version)

    async def tools(self) -> list[str]:
        """Return the names of all tools."""
        return [str(tool.name) for tool in await self._client.list_tools()]

    async def call(
        self, call: ToolCall, on_progress: Callable[[], None] | None = None
    ) -> steps.Answer:
        """Call a tool; cancelling the awaiting task cancels the call at the server."""

        async def progressed(_progress: float, _total: float | None, _message: str | None) -> None:
            if on_progress is not None:
                on_progress()

        result = await self._client.call_tool(
            call["tool"],
            call["arguments"],
            progress_handler=progressed,
            raise_on_error=False,
        )
        text = "".join(block.text for block in result.content if block.type == "text")
        return steps.Answer(text, bool(result.is_error))


@asynccontextmanager
async def connect(target: Target) -> AsyncIterator[FastmcpPeer]:
    """Connect over HTTP with the bearer token, or over fastmcp's own stdio transport."""
    if "url" in target:
        token = read_token(target)
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        transport = StreamableHttpTransport(target["url"], headers=headers)
    else:
        command, *arguments = target["argv"]
        # Without keep_alive=False the child outlives the client.
        transport = StdioTransport(command, arguments, keep_alive=False)
    async with Client(transport) as client:
        yield FastmcpPeer(client)


def main() -> None:
    """Run the steps of the target file."""
    target = read_target(Path(sys.argv[1]))
    anyio.run(steps.run, lambda: connect(target), target)


if __name__ == "__main__":
    main()
