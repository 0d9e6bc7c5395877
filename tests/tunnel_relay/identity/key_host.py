"""A web server on loopback that says what a test wants: an issuer's documents, right or wrong."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.tunnel_relay.identity.minting import key_set


class KeyHost:
    """`pages` are by path: a JSON value, or the whole response as bytes."""

    def __init__(self) -> None:
        self.port = 0
        self.pages: dict[str, Any] = {}
        self.asked: list[str] = []
        self.bodies: list[bytes] = []

    @property
    def url(self) -> str:
        """Where it is, and what it calls itself as an issuer."""
        return f"http://127.0.0.1:{self.port}"

    def be_issuer(self, keys: dict[str, Any] | None = None, **more: Any) -> None:
        """Serve metadata and keys."""
        self.pages["/.well-known/openid-configuration"] = {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/keys",
            **more,
        }
        self.pages["/keys"] = key_set() if keys is None else keys

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split(" ")[1]
            lengths = [line[15:] for line in head.lower().split("\r\n") if "content-length" in line]
            self.bodies.append(await reader.readexactly(int(lengths[0])) if lengths else b"")
            self.asked.append(path)
            page = self.pages.get(path, b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
            if not isinstance(page, bytes):
                text = json.dumps(page).encode()
                length = f"Content-Type: application/json\r\nContent-Length: {len(text)}"
                page = f"HTTP/1.1 200 OK\r\n{length}\r\n\r\n".encode() + text
            writer.write(page)
            await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def key_host() -> AsyncIterator[KeyHost]:
    """Run one on a free port."""
    host = KeyHost()
    server = await asyncio.start_server(host.serve, "127.0.0.1", 0)
    host.port = server.sockets[0].getsockname()[1]
    try:
        yield host
    finally:
        server.close()
