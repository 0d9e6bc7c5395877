"""Bodies that never end hold a bounded part of the relay's memory, and only while they come."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.helpers.agent import call
from tests.integration.scene import Scene, eventually

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="session")]

MIB = 1024 * 1024
SENDERS = 40


@contextlib.asynccontextmanager
async def unfinished(scene: Scene) -> AsyncIterator[asyncio.StreamReader]:
    """Send all of a 4 MiB body but its last byte."""
    head, _, _ = scene.agent.encode(call("echo", case="never")).partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    reader, writer = await asyncio.open_connection("127.0.0.1", scene.lab.port)
    try:
        writer.write(b"\r\n".join([*lines, b"Content-Length: %d" % (4 * MIB), b"", b""]))
        writer.write(b" " * (4 * MIB - 1))
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        yield reader
    finally:
        writer.close()


@pytest.mark.usefixtures("clean")
async def test_bodies_that_never_end_are_refused_beyond_a_sum(scene: Scene) -> None:
    async with contextlib.AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(unfinished(scene)) for _ in range(SENDERS)]
        refused: set[int] = set()

        async def listen(number: int) -> None:
            line = await readers[number].readline()
            assert line.startswith(b"HTTP/1.1 503 "), line
            refused.add(number)

        listening = [asyncio.create_task(listen(number)) for number in range(SENDERS)]
        try:
            await eventually(lambda: refused)
            await scene.serves()
        finally:
            for task in listening:
                task.cancel()
        assert len(refused) < SENDERS / 2
    await scene.serves()
    assert scene.upstream.calls("never") == []
