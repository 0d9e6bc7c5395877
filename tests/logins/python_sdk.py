"""The SDK's client that logs its user in: `python -m tests.logins.python_sdk URL`."""

import asyncio
import json
import sys
import webbrowser
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata
from pydantic import AnyUrl

from tests.helpers.sdk_login import Memory

TOOL = "test_simple_text"


class Callback:
    """A loopback listener for the browser to come back to."""

    def __init__(self) -> None:
        self._query: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def start(self) -> str:
        """Listen; returns the redirect URI."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/callback"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone")
        writer.close()
        target = urlsplit(head.split(" ")[1])
        if target.path == "/callback" and not self._query.done():
            self._query.set_result(target.query)

    async def result(self) -> AuthorizationCodeResult:
        """Wait for the browser."""
        brought = {name: values[0] for name, values in parse_qs(await self._query).items()}
        return AuthorizationCodeResult(
            code=brought["code"], state=brought["state"], iss=brought["iss"]
        )


async def opened(url: str) -> None:
    """Send the user to a page."""
    await asyncio.to_thread(webbrowser.open, url)


async def main(url: str) -> None:
    """Log in, list, call; prints what came."""
    callback = Callback()
    redirect = await callback.start()
    metadata = OAuthClientMetadata(
        client_name="Python SDK",
        redirect_uris=[AnyUrl(redirect)],
        token_endpoint_auth_method="none",
    )
    login = OAuthClientProvider(url, metadata, Memory(), opened, callback.result)
    async with (
        httpx2.AsyncClient(auth=login, timeout=60) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        tools = [tool.name for tool in (await client.list_tools()).tools]
        answer = await client.call_tool(TOOL, {})
        told = {"tools": tools, "failed": bool(answer.is_error)}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
