"""A network that fails on command: it cuts, stalls, refuses, delays or throttles connections."""

import asyncio
import random
from types import TracebackType
from typing import Literal, Self

Way = Literal["up", "down"]
"""Up: from who dialled to the target."""
WAYS: tuple[Way, ...] = ("up", "down")
PIECE_SECONDS = 0.05
"""What a throttled way carries at a time takes so long."""
HELD = 1024
"""Reads on their way in one direction, at most; then the sender has to wait."""


class TcpProxy:
    """Forwards loopback connections to `target` (a port) while its block runs.

    `taken` counts connections that were forwarded, `turned_away` those refused; `carried` counts
    bytes in both directions. Every read is held for `delay` seconds, give or take `jitter`, as the
    dice of `seed` say, and never overtakes another; `rate` is bytes a second each way (0: no
    bound). All three may be changed while it runs.
    """

    def __init__(self, target: int = 0, seed: int = 1) -> None:
        self.delay = self.jitter = self.rate = 0.0
        self._dice = random.Random(seed)
        self.port = 0
        self.target = target
        self.taken = 0
        self.turned_away = 0
        self.carried = 0
        self.refusing = False
        self._flowing = self._gates()
        self.resume()
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
        self.refusing = True  # what was accepted by then, too
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

    def stall(self, *ways: Way) -> None:
        """Carry nothing any more, both ways or those given, without a word to either end."""
        for way in ways or WAYS:
            self._flowing[way].clear()

    def strand(self) -> None:
        """Carry nothing any more of the connections there are; those made from now on work."""
        self.stall()
        self._flowing = self._gates()
        self.resume()

    def resume(self) -> None:
        """Carry on."""
        for flowing in self._flowing.values():
            flowing.set()

    def _gates(self) -> dict[Way, asyncio.Event]:
        return {way: asyncio.Event() for way in WAYS}

    def drawn(self) -> float:
        """Return how long the next read is held; seconds."""
        return max(0.0, self.delay + self._dice.uniform(-self.jitter, self.jitter))

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            self.turned_away += 1
            writer.transport.abort()
            return
        self.taken += 1
        pair = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._pairs.add(pair)
        pair.add_done_callback(self._pairs.discard)
        # However it ends: it may be cut while the target is still dialled, or before it begins.
        pair.add_done_callback(lambda _: writer.transport.abort())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            return
        pumps = [
            asyncio.create_task(self._pump(reader, far_writer, "up")),
            asyncio.create_task(self._pump(far_reader, writer, "down")),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            far_writer.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way
    ) -> None:
        """Read on while what was read is still held, as a long wire would."""
        loop = asyncio.get_running_loop()
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(HELD)
        carrying = loop.create_task(self._carry(held, writer, self._flowing[way]))
        try:
            while data := await reader.read(65536):
                await held.put((loop.time() + self.drawn(), data))
            await held.put((0.0, b""))
            await carrying
        except OSError:
            return
        finally:
            carrying.cancel()
            await asyncio.gather(carrying, return_exceptions=True)

    async def _carry(
        self,
        held: asyncio.Queue[tuple[float, bytes]],
        writer: asyncio.StreamWriter,
        gate: asyncio.Event,
    ) -> None:
        """Write what is held, each part when it is due, until the empty one."""
        while True:
            due, data = await held.get()
            if not data:
                return
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            for piece in self._pieces(data):
                await gate.wait()
                self.carried += len(piece)
                writer.write(piece)
                await writer.drain()
                if self.rate:
                    await asyncio.sleep(len(piece) / self.rate)

    def _pieces(self, data: bytes) -> list[bytes]:
        size = max(1, int(self.rate * PIECE_SECONDS)) if self.rate else len(data)
        return [data[at : at + size] for at in range(0, len(data), size)]
