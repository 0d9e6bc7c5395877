"""A network that fails on command: a TCP relay that cuts, stalls or refuses its connections."""

import asyncio
from types import TracebackType
from typing import Self


class TcpProxy:
    """Forwards loopback connections to `target` (a port) while its block runs.

    `taken` counts connections that were forwarded, `turned_away` those refused; `carried` counts
    bytes in both directions.
    """

    def __init__(self, target: int = 0) -> None:
        self.port = 0
        self.target = target
        self.taken = 0
        self.turned_away = 0
        self.carried = 0
        self.refusing = False
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self._pairs: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        pairs = list(self._pairs)
        self.cut()
        await asyncio.gather(*pairs, return_exceptions=True)

    @property
    def open(self) -> int:
        """How many connections are forwarded now."""
        return len(self._pairs)

    def cut(self) -> None:
        """Reset every connection at both ends."""
        for pair in self._pairs:
            pair.cancel()

    def stall(self) -> None:
        """Carry nothing any more, without a word to either end."""
        self._flowing.clear()

    def resume(self) -> None:
        """Carry on."""
        self._flowing.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            self.turned_away += 1
            writer.transport.abort()
            return
        self.taken += 1
        pair = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._pairs.add(pair)
        pair.add_done_callback(self._pairs.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        pumps = [
            asyncio.create_task(self._pump(reader, far_writer)),
            asyncio.create_task(self._pump(far_reader, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            writer.transport.abort()
            far_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self._flowing.wait()
                self.carried += len(data)
                writer.write(data)
                await writer.drain()
        except OSError:
            return
