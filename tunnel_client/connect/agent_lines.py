"""Lines from the agent and to it: newline-delimited JSON on two file descriptors.

Threads, because only they read every kind of descriptor (pipe, terminal, file) without changing it
for the process at its other end.
"""

import asyncio
import os
import queue
import threading
from collections.abc import AsyncIterator

from tunnel_client.connect.threads import tell

MAX_LINE = 64 * 1024 * 1024
_CHUNK = 256 * 1024
_AHEAD = 16
"""Lines read before the first of them is taken."""


class AgentGoneError(Exception):
    """The agent no longer reads."""


class AgentLines:
    """The agent's two pipes; to be made inside the event loop that uses it."""

    def __init__(self, incoming: int, outgoing: int, max_line: int = MAX_LINE) -> None:
        self._incoming, self._outgoing, self._max = incoming, outgoing, max_line
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[bytes | EOFError | None] = asyncio.Queue()
        self._room = threading.Semaphore(_AHEAD)
        self._out: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]]] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="from-agent", daemon=True).start()
        threading.Thread(target=self._write, name="to-agent", daemon=True).start()

    async def lines(self) -> AsyncIterator[bytes | None]:
        """Yield every line without its end, None for one that is too long; ends with the agent."""
        while True:
            line = await self._lines.get()
            if isinstance(line, EOFError):
                return
            self._room.release()
            yield line

    async def write(self, line: bytes) -> None:
        """Write one line whole, in the order of the calls; raises AgentGoneError.

        Returns when the agent's pipe took it, so that a slow agent slows down who answers it.
        """
        done: asyncio.Future[None] = self._loop.create_future()
        self._out.put((line + b"\n", done))
        await done

    def _read(self) -> None:
        rest, skipping = bytearray(), False
        while True:
            try:
                chunk = os.read(self._incoming, _CHUNK)
            except OSError:
                chunk = b""
            if not chunk:
                tell(self._loop, self._lines.put_nowait, EOFError())
                return
            *whole, last = chunk.split(b"\n")
            for part in whole:
                rest += part
                line = None if skipping or len(rest) > self._max else bytes(rest)
                rest, skipping = bytearray(), False
                self._room.acquire()
                if not tell(self._loop, self._lines.put_nowait, line):
                    return
            rest += last
            if len(rest) > self._max:
                rest, skipping = bytearray(), True

    def _write(self) -> None:
        broken = False
        while True:
            line, done = self._out.get()
            view = memoryview(line)
            while view and not broken:
                try:
                    view = view[os.write(self._outgoing, view) :]
                except OSError:
                    broken = True
            if not tell(self._loop, _settle, done, broken):
                return


def _settle(done: "asyncio.Future[None]", broken: bool) -> None:
    if done.done():
        return
    if broken:
        done.set_exception(AgentGoneError())
    else:
        done.set_result(None)
