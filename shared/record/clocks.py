"""Whether two ends go by the same clock, call by call; pure.

A clock that is wrong, or was set, moves many calls; one call that is moved alone was held back, or
is said to be of another time.
"""

from collections.abc import Iterator

from shared.record.differences import Difference


class Clocks:
    """Looks at how far apart both ends say that calls were, `window` microseconds being usual."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._last = 0
        """How far apart the last call was that fits to another one."""
        self._odd: tuple[int, Difference] | None = None
        """A call that does not fit to those before it; the next one may."""
        self._moved: Difference | None = None
        self._alone: Difference | None = None

    def see(self, apart: int, found: Difference) -> None:
        """Take a call that both ends know; `apart`: the relay's time less the client's."""
        if self._odd is not None:
            before, odd = self._odd
            self._odd = None
            if self._fits(apart, before):
                self._last = before
                self._moved = self._told(before, odd, self._moved)
            else:
                odd.grave = True
                self._alone = self._told(before, odd, self._alone)
        if self._fits(apart, self._last):
            self._last = apart
            self._moved = self._told(apart, found, self._moved)
        else:
            self._odd = apart, found

    def findings(self) -> Iterator[Difference]:
        """Yield what came of them, calls of one kind told together."""
        if self._odd is not None:
            apart, odd = self._odd
            odd.grave = True
            self._alone = self._told(apart, odd, self._alone)
        yield from (each for each in (self._alone, self._moved) if each is not None)

    def _fits(self, apart: int, other: int) -> bool:
        return abs(apart - other) <= self._window

    def _told(self, apart: int, found: Difference, before: Difference | None) -> Difference | None:
        if abs(apart) <= self._window:
            return before
        if before is not None:
            before.calls += 1
            return before
        why = "that call alone" if found.grave else "one of the clocks was wrong, or was set"
        found.said = f"{abs(apart) // 1_000_000} s: {why}"
        return found
