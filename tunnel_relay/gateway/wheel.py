"""One coarse timer for all exchanges: no call pays for a timer of its own."""

import asyncio
from typing import Protocol

TICK = 0.1
"""Seconds after which an exchange that is still waiting counts as slow (at most two of them)."""
SWEEP = 1.0


class Ages(Protocol):
    """What the wheel tells an exchange."""

    done: bool

    def grow_slow(self) -> None:
        """This exchange is not one of those that are over at once; called once."""

    def sweep(self, now: float) -> None:
        """Look at your deadlines; called every second once slow. `now` is the loop's clock."""


class Wheel:
    """Visits exchanges that live longer than a tick; costs a list append for those that do not."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._young: list[Ages] = []
        self._older: list[Ages] = []
        self._slow: set[Ages] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._swept = 0.0

    def add(self, exchange: Ages) -> None:
        """Start to visit an exchange; it is forgotten once it says it is done."""
        self._young.append(exchange)
        if self._timer is None:
            self._timer = self._loop.call_later(TICK, self._tick)

    def remove(self, exchange: Ages) -> None:
        """Forget a slow exchange at once, so that its memory is not held until the next sweep."""
        self._slow.discard(exchange)

    def close(self) -> None:
        """Stop ticking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        for exchange in self._older:
            if not exchange.done:
                self._slow.add(exchange)
                exchange.grow_slow()
        self._older, self._young = self._young, []
        now = self._loop.time()
        if now - self._swept >= SWEEP:
            self._swept = now
            for exchange in list(self._slow):
                exchange.sweep(now)
        if self._older or self._slow:
            self._timer = self._loop.call_later(TICK, self._tick)
        else:
            self._timer = None
