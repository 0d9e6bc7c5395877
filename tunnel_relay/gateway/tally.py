"""Counts calls as they end: a few additions each; who wants to know reads the sums. Pure.

No lock and no library here: one thread counts and reads, and a call pays under a microsecond.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunnel_relay.gateway.exchange import Exchange

BOUNDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
"""Upper bounds in seconds of what is counted together; the last count is of what took longer."""
MAX_LANES = 4096
"""Pairs of upstream and method that are counted apart. Clients name upstreams, so there is a
bound; what comes beyond it is counted under `OTHER`."""
OTHER = "other"


class Series:
    """How often something took how long."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def merge(self, other: "Series") -> None:
        """Add another's sums."""
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.total += other.total


Lane = dict[str, Series]
"""The calls of one method to one upstream, by their outcome."""


class Tally:
    """What the gateway did since it started; `now` in seconds of a clock that never goes back."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.lanes: dict[tuple[str, str], Lane] = {}
        """By upstream (`tunnel/upstream`) and method, which is one of those that may pass."""
        self.denials: Counter[str] = Counter()
        """Calls that the relay's own rules turned away, by upstream."""
        self.refusals: Counter[int] = Counter()
        """Answers of the relay's own by HTTP status."""

    def begin(self, exchange: "Exchange") -> None:
        """Note which call begins, and when."""
        call = exchange.call
        envelope = call.envelope
        method = call.request.method.decode() if envelope is None else envelope.method or "response"
        key = (call.session.place, method)
        exchange.lane = self.lanes.get(key) or self._new_lane(key)
        exchange.began = self._now()

    def end(self, exchange: "Exchange") -> None:
        """Count a call that is over."""
        outcome = exchange.outcome
        series = exchange.lane.get(outcome)
        if series is None:
            series = exchange.lane[outcome] = Series()
        series.add(self._now() - exchange.began)

    def denied(self, place: str) -> None:
        """Count a call that may not be sent."""
        if place not in self.denials and len(self.denials) >= MAX_LANES:
            place = OTHER
        self.denials[place] += 1

    def _new_lane(self, key: tuple[str, str]) -> Lane:
        if key not in self.lanes and len(self.lanes) >= MAX_LANES:
            key = (OTHER, key[1])
        return self.lanes.setdefault(key, {})
