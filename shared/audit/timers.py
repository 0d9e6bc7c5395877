"""Timers by name, each set once until it is due."""

import asyncio
from collections.abc import Callable


class Timers:
    """Timers of one log, on its loop; after `stop` none can be set."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._set: dict[str, asyncio.TimerHandle] = {}
        self._stopped = False
        self.went_off = True
        """Was one due since somebody looked?"""

    def later(self, name: str, seconds: float, act: Callable[[], None]) -> None:
        """Call `act` in so many seconds, unless one of this name is set already."""
        if name not in self._set and not self._stopped:
            self._set[name] = self._loop.call_later(seconds, self._due, name, act)

    def is_set(self, name: str) -> bool:
        """Tell whether one of this name is set."""
        return name in self._set

    def _due(self, name: str, act: Callable[[], None]) -> None:
        self._set.pop(name, None)
        self.went_off = True
        act()

    def stop(self) -> None:
        """Cancel them all."""
        self._stopped = True
        for timer in self._set.values():
            timer.cancel()
