"""Tells the service manager how the client is, and that it is alive only while it gets on."""

from collections.abc import Callable, Mapping
from typing import Any

import anyio

from shared.notify import Notifier

EVERY = 5.0
"""Seconds between two words to the manager, well within the unit's WatchdogSec=30."""
PAUSE = 60.0
"""Longest time without any change while there is no link: a backoff and one attempt fit in."""


class Progress:
    """Does a link live, or does the way to one go on? Pure; `lease` in seconds."""

    def __init__(self, lease: float) -> None:
        self._silence = 2 * lease + PAUSE
        self._mark: tuple[object, ...] | None = None
        self._since = 0.0

    def made(self, status: Mapping[str, Any], now: float) -> bool:
        """Judge the client's status at `now` (monotonic)."""
        if status["connected"]:
            self._mark = None
            return float(status.get("heard_ago", 0.0)) < self._silence
        mark = (status["links_made"], status["retry_at"], status["last_error"])
        if mark != self._mark:
            self._mark, self._since = mark, now
        return now - self._since < PAUSE


def line(status: Mapping[str, Any]) -> str:
    """Return what `systemctl status` shows."""
    if status["connected"]:
        return f"link to {status['relay']}, {status.get('streams', 0)} streams"
    return f"no link to {status['relay']}: {status['last_error'] or 'dialling'}"


async def tell(notifier: Notifier, status: Callable[[], Mapping[str, Any]], lease: float) -> None:
    """Say that we are ready, then how we are, until cancelled; then that we stop."""
    if not notifier.listening:
        return
    progress = Progress(lease)
    notifier.ready(line(status()))
    try:
        while True:
            shown = status()
            if progress.made(shown, anyio.current_time()):
                notifier.alive(line(shown))
            else:
                notifier.send(f"STATUS=no progress: {line(shown)}")
            await anyio.sleep(EVERY)
    finally:
        notifier.stopping()
