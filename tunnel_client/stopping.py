"""SIGTERM and SIGINT: the first asks the client to stop, the second to wait for nothing."""

import asyncio
import atexit
import os
import signal

import anyio
import structlog

log = structlog.get_logger("tunnel_client")

SIGNALS = (signal.SIGTERM, signal.SIGINT)
FIRST, SECOND = 1, 2
_SAID = {FIRST: "stopping", SECOND: "stopping now"}


class Stops:
    """Hears both from the moment it is made, in the main thread, to the program's end.

    The loop's own handlers end with the loop, and a signal after that would pass for a crash.
    """

    def __init__(self) -> None:
        self._heard = 0
        self._ends: list[tuple[int, anyio.CancelScope]] = []
        self._code: int | None = None
        self._loop = asyncio.get_running_loop()
        for number in SIGNALS:
            signal.signal(number, self._came)

    def stop(self, scope: anyio.CancelScope) -> None:
        """Have the first signal cancel a scope, at once if it came."""
        self._bind(FIRST, scope)

    def hurry(self, scope: anyio.CancelScope) -> None:
        """Have the second signal cancel a scope, at once if it came."""
        self._bind(SECOND, scope)

    def over(self, code: int) -> None:
        """All is closed: from now on a signal ends the process with this code, and a second did.

        Threads may be left that Python would wait for, as those that ask for an address.
        """
        self._code = code
        if self._heard >= SECOND:
            os._exit(code)
        # Python takes its handlers away before it ends, and then a signal would kill it.
        atexit.register(_heed_none)

    def _bind(self, signals: int, scope: anyio.CancelScope) -> None:
        self._ends.append((signals, scope))
        self._end()

    def _came(self, *_: object) -> None:
        if self._code is not None:
            os._exit(self._code)
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._hear)

    def _hear(self) -> None:
        if self._code is not None:  # it came while all was being closed
            os._exit(self._code)
        self._heard += 1
        if (said := _SAID.get(self._heard)) is not None:
            log.info(said)
        self._end()

    def _end(self) -> None:
        for signals, scope in self._ends:
            if self._heard >= signals:
                scope.cancel()


def _heed_none() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
