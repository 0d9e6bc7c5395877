"""Which client's upstream was not reachable lately, so that another client's is tried first."""

import time
from collections.abc import Callable

AVOIDED_SECONDS = 5.0
"""So long after a call that found no upstream others go to another client, then it is tried again:
a server that is started anew takes about as long, and one call in that time tells."""

Served = tuple[str, str, str]
"""A tunnel, an instance of it and an upstream that it offers."""


class Failing:
    """Those whose last failure is not long ago; empty, and so false, where all is well."""

    __slots__ = ("_clock", "_until")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[Served, float] = {}

    def __bool__(self) -> bool:
        return bool(self._until)

    def failed(self, served: Served) -> None:
        """No connection to the upstream could be made there."""
        now = self._clock()
        self._until.pop(served, None)
        for other, until in list(self._until.items()):  # oldest first
            if now < until:
                break
            del self._until[other]
        self._until[served] = now + AVOIDED_SECONDS

    def avoided(self, served: Served) -> bool:
        """Tell whether calls had better go to another client."""
        until = self._until.get(served)
        if until is None:
            return False
        if self._clock() < until:
            return True
        del self._until[served]
        return False
