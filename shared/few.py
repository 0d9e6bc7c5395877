"""Bounds how many log lines come of what somebody else can repeat at will. Pure."""

MOST = 50
PERIOD = 10.0


class Few:
    """Lets `most` lines through in each `period` (seconds), and counts the rest."""

    __slots__ = ("_began", "_left_out", "_most", "_period", "_written")

    def __init__(self, most: int = MOST, period: float = PERIOD) -> None:
        self._most = most
        self._period = period
        self._began: float | None = None
        self._written = self._left_out = 0

    def take(self, now: float) -> int | None:
        """Return how many lines were left out before this one, None to leave this one out."""
        if self._began is None or now - self._began >= self._period:
            self._began, self._written = now, 0
        if self._written >= self._most:
            self._left_out += 1
            return None
        self._written += 1
        left_out, self._left_out = self._left_out, 0
        return left_out
