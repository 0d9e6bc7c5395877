"""How long to wait before trying again: full jitter, so that many clients never come at once."""

from dataclasses import dataclass

_MOST_DOUBLINGS = 16


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds to wait after failures in a row; pure, randomness comes in as a number."""

    base: float = 0.5
    cap: float = 30.0

    def ceiling(self, failures: int) -> float:
        """Return the longest wait after `failures` failures in a row; 0 counts as 1."""
        doublings = min(max(failures - 1, 0), _MOST_DOUBLINGS)
        return min(self.cap, self.base * 2.0**doublings)

    def delay(self, failures: int, jitter: float) -> float:
        """Return the wait for `jitter` in 0..1, anywhere between nothing and the ceiling."""
        return jitter * self.ceiling(failures)
