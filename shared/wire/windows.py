"""Credit: how much the other side may send (docs/protocol.md section 6).

Credit is returned when bytes are consumed, not when they arrive, so that a reader that stops
holds back its own stream and nothing else. The rules follow RFC 9113 section 5.2.
"""

from shared.errors import PeerError

MAX_CREDIT = 2**31 - 1
WORTH_GROWING = 256 * 2**20
"""Bytes a second that a window has to allow one stream; a larger one is only a longer queue."""


class FlowControlError(PeerError):
    """The peer sent more than its credit, or gave more than can be counted."""


class SendWindow:
    """Credit the peer gave us."""

    __slots__ = ("available",)

    def __init__(self, available: int) -> None:
        self.available = available

    def add(self, credit: int) -> None:
        """Take credit the peer gave; raises FlowControlError for none or too much of it."""
        if credit == 0:
            raise FlowControlError("credit of zero")
        self.available += credit
        if self.available > MAX_CREDIT:
            raise FlowControlError("credit beyond what can be counted")


class ReceiveWindow:
    """Credit we gave the peer. `size` is what we allow in flight; it may grow to `largest`."""

    __slots__ = ("_consumed", "_granted_at", "available", "largest", "size")

    def __init__(self, size: int, largest: int | None = None) -> None:
        self.size = size
        self.largest = size if largest is None else largest
        self.available = size
        self._consumed = 0
        self._granted_at = 0.0

    @property
    def low(self) -> bool:
        """Less than a quarter is left to the peer."""
        return self.available < self.size // 4

    def received(self, count: int) -> None:
        """Count bytes that arrived; raises FlowControlError beyond the credit given."""
        if count > self.available:
            raise FlowControlError(f"{count} bytes where {self.available} were allowed")
        self.available -= count

    def consumed(self, count: int, now: float = 0.0, round_trip: float = 0.0) -> int:
        """Count bytes the reader took; return the credit to give now, 0 while not worth a frame.

        A window smaller than twice what is taken in a round trip may be what limits the stream, so
        it doubles, while it allows less than WORTH_GROWING. A larger one would only make a queue,
        in which the other streams stand too.
        Times are seconds of one monotonic clock.
        """
        self._consumed += count
        if self._consumed * 4 < self.size:
            return 0
        grant, self._consumed = self._consumed, 0
        limits = self.size * (now - self._granted_at) < 2 * grant * round_trip
        if limits and self.size < min(self.largest, WORTH_GROWING * round_trip):
            grown = min(self.size * 2, self.largest)
            grant += grown - self.size
            self.size = grown
        self._granted_at = now
        self.available += grant
        return grant
