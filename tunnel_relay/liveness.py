"""Tells the service manager how the relay is, and that it is alive only while it gets on."""

from collections.abc import Callable

import anyio

from shared.notify import Notifier
from tunnel_relay.lease import Lease

EVERY = 5.0
"""Seconds between two words to the manager, well within the unit's WatchdogSec=30."""


class Progress:
    """Is the store known to be true, or asked again and again? Else a restart may help. Pure."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._failures = lease.failures

    def made(self) -> bool:
        """Judge now."""
        before, self._failures = self._failures, self._lease.failures
        return self._lease.held or self._failures != before


async def tell(notifier: Notifier, lease: Lease, line: Callable[[], str]) -> None:
    """Say that we are ready, then how we are, until cancelled; then that we stop."""
    if not notifier.listening:
        return
    progress = Progress(lease)
    notifier.ready(line())
    try:
        while True:
            if progress.made():
                notifier.alive(line())
            else:
                notifier.send(f"STATUS=no progress: {lease.problem}")
            await anyio.sleep(EVERY)
    finally:
        notifier.stopping()
