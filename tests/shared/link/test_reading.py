"""Reading into a buffer that all connections share."""

import asyncio
import ssl
from pathlib import Path

import anyio
import pytest

from shared.link.reading import READ_BYTES, Reader
from tests.helpers.tls import Authority

MANY = 8


class Collector(Reader):
    """Keeps what came."""

    def __init__(self) -> None:
        self.came = bytearray()
        self.lost = asyncio.Event()

    def data_received(self, data: bytes | memoryview) -> None:
        self.came += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


@pytest.mark.parametrize("secured", [False, True])
async def test_connections_that_read_at_once_get_their_own_bytes(
    secured: bool, tmp_path: Path
) -> None:
    authority = Authority()
    server_tls = authority.server("localhost") if secured else None
    client_tls = None
    if secured:
        client_tls = ssl.create_default_context(cafile=authority.write(tmp_path / "ca.pem"))
    collectors: list[Collector] = []

    def collector() -> Collector:
        collectors.append(Collector())
        return collectors[-1]

    loop = asyncio.get_running_loop()
    listener = await loop.create_server(collector, "127.0.0.1", 0, ssl=server_tls)
    port = listener.sockets[0].getsockname()[1]
    sent = [bytes([65 + number]) * (READ_BYTES * 2 + number) for number in range(MANY)]

    async def send(data: bytes) -> None:
        _, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client_tls, server_hostname="localhost" if secured else None
        )
        writer.write(data)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    try:
        with anyio.fail_after(20):
            await asyncio.gather(*map(send, sent))
            for one in collectors:
                await one.lost.wait()
    finally:
        listener.close()
        await listener.wait_closed()
    assert sorted(bytes(one.came) for one in collectors) == sent
