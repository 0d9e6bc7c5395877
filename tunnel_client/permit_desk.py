"""Uses permits up without holding the event loop: each costs an fsync."""

import asyncio
from collections.abc import Callable

import structlog

from shared.permit import Permit, PermitError
from tunnel_client.permits import Expectation, Permits

log = structlog.get_logger("tunnel_client.permits")

MAX_WAITING = 256
"""Permits that are being written down at a time; more are refused, unused."""

Done = Callable[[str | None], None]
"""Called on the loop: None when the permit was good, else one word for the log."""


class PermitDesk:
    """The permits of one client; one at a time goes to the disk, in a thread."""

    def __init__(self, permits: Permits, relay_key: bytes) -> None:
        self.relay_key = relay_key
        self._permits = permits
        self._waiting = 0

    def use(self, text: str, expected: Expectation, done: Done) -> None:
        """Use a permit up, durably, then call `done`."""
        if self._waiting >= MAX_WAITING:
            done("too many at once")
            return
        self._waiting += 1
        loop = asyncio.get_running_loop()
        used = loop.run_in_executor(None, self._permits.use, text, expected)
        used.add_done_callback(lambda future: self._settle(future, done))

    def _settle(self, used: asyncio.Future[Permit], done: Done) -> None:
        self._waiting -= 1
        if used.cancelled():
            done("the client stops")
            return
        error = used.exception()
        if error is None:
            done(None)
        elif isinstance(error, PermitError):
            done(error.kind)
        else:
            log.error("a permit could not be judged", kind=type(error).__name__)
            done("fault")
