"""SIGHUP: it asks a program to read again, at any time of its life, and never ends it."""

import asyncio
import atexit
import signal
from collections.abc import Callable

import anyio


class Hangups:
    """Hears the signal from the moment it is made, in the main thread, to the program's end.

    Programs that are started get the system's own way back: only a signal that is ignored is
    ignored by them too.
    """

    def __init__(self) -> None:
        self.pending = False
        """It came, and nobody waited for it since."""
        self._wake: Callable[[], object] | None = None
        signal.signal(signal.SIGHUP, self._came)
        # Python takes its handlers away before all else of it has ended.
        atexit.register(signal.signal, signal.SIGHUP, signal.SIG_IGN)

    def _came(self, *_: object) -> None:
        self.pending = True
        if self._wake is not None:
            self._wake()

    async def next(self) -> None:
        """Return once it came; several that came since are one."""
        loop, came = asyncio.get_running_loop(), anyio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(came.set)
        try:
            if not self.pending:
                await came.wait()
        finally:
            self._wake = None
        self.pending = False
