"""Something else than a relay that takes WebSockets, as a balancer's default backend may."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from websockets.utils import accept_key

_READY = b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n" + b'{"ready": true, "links": 1}'.ljust(40)
_UPGRADED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n"
)


@asynccontextmanager
async def stranger() -> AsyncIterator[int]:
    """Answer each upgrade with 101 and no subprotocol, `/readyz` as a relay; yields the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                fields = dict(line.partition(": ")[::2] for line in head.split("\r\n"))
                key = fields.get("Sec-WebSocket-Key")
                writer.write(_READY if key is None else _UPGRADED % accept_key(key).encode())
                await writer.drain()
                await reader.read()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
