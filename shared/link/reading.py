"""One read buffer for all connections of an event loop.

Reading into it, uvloop makes no `bytes` of 256 KiB for each TLS record, which is slow and leaves
large holes in the heap. What arrives is used up before the loop reads anything else.
"""

import asyncio
import threading

from shared.wire.limits import KIB

READ_BYTES = 256 * KIB


class _Buffer(threading.local):
    def __init__(self) -> None:
        self.view = memoryview(bytearray(READ_BYTES))


_BUFFER = _Buffer()


class Reader(asyncio.BufferedProtocol):
    """A protocol whose `data_received` gets a view that is only valid during the call."""

    __slots__ = ("__weakref__",)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend the buffer to the transport."""
        return _BUFFER.view

    def buffer_updated(self, nbytes: int) -> None:
        """Pass on what came."""
        self.data_received(_BUFFER.view[:nbytes])

    def data_received(self, data: bytes | memoryview) -> None:
        """Take what came; a subclass keeps copies alone."""
        raise NotImplementedError
