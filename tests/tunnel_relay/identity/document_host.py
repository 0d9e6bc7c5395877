"""A host of client-id metadata documents, over real TLS at localhost."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trustme

DOCUMENT = {
    "client_name": "An agent",
    "redirect_uris": ["http://127.0.0.1/callback"],
    "token_endpoint_auth_method": "none",
}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@asynccontextmanager
async def served(
    answer: Callable[[str], bytes], authority: trustme.CA | None = None
) -> AsyncIterator[tuple[str, ssl.SSLContext, list[bytes]]]:
    """Serve one answer over real TLS at localhost; yields URL, trust and what was asked."""
    authority = authority or trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer(url))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}/agent.json"
    try:
        yield url, trust, asked
    finally:
        server.close()


def whole(url: str, **changed: object) -> bytes:
    """Return the response with the document of an agent at this URL."""
    body = json.dumps({**DOCUMENT, "client_id": url, **changed}).encode()
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
