"""How long a relay may answer from memory when its store is silent (DESIGN: the lease). Pure.

Verdicts on sessions come from memory, which is true as long as every change can be stored. A
relay that cannot store any more may serve for `seconds` after it last could, and then refuses.
"""

import time
from collections.abc import Callable

SILENT = "the database does not answer"


class Lease:
    """When the store was last known to be true; `clock` is monotonic, so no timer jumps with it."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self.clock = clock
        self._heard = clock()
        self._problem: str | None = None
        self.failures = 0
        """How often the store failed when it was asked whether it can be written."""

    @property
    def held(self) -> bool:
        """Whether memory may be served from."""
        return self.clock() - self._heard < self.seconds

    @property
    def left(self) -> float:
        """Seconds until it lapses; 0 when it has."""
        return max(0.0, self._heard + self.seconds - self.clock())

    @property
    def problem(self) -> str | None:
        """What is wrong with the store, None while nothing is."""
        return self._problem or (None if self.held else SILENT)

    def heard(self, at: float) -> bool:
        """Note that the store was true at `at`; tells whether that ends a problem."""
        mended = self.problem is not None
        self._heard = max(self._heard, at)
        self._problem = None
        return mended

    def failed(self, problem: str) -> bool:
        """Note that the store failed; tells whether that is news."""
        news = self._problem is None
        self._problem = problem
        self.failures += 1
        return news

    def facts(self) -> dict[str, object]:
        """Return what `status` shows: JSON values, seconds."""
        return {
            "problem": self.problem,
            "lapsed": not self.held,
            "lease": self.seconds,
            "left": round(self.left, 1),
            "silent": round(max(0.0, self.clock() - self._heard), 1),
        }
