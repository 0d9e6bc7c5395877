"""Counts exchanges as they end: a few additions each; whoever wants to know reads the sums. Pure.

One thread counts and reads: no lock, and no library on the path of a call.
"""

import time
from bisect import bisect_left
from collections import Counter
from typing import Protocol

from shared.errors import CloseCode
from tunnel_client.upstream.base import UpstreamRequest

BOUNDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
"""Upper bounds in seconds of what is counted together; the last count is of what took longer."""
_CLOSE_CODES = frozenset(CloseCode)


class Series:
    """How often something took how long."""

    __slots__ = ("counts", "last", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0
        self.last = 0.0

    def add(self, seconds: float, now: float) -> None:
        """Count one that took so long and ended now."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds
        self.last = now


Lane = dict[str, Series]
"""The exchanges of one method with one upstream, by their outcome."""


class Counted(Protocol):
    """An exchange, as far as it is counted; `lane` is None until it is known what it asks for."""

    lane: Lane | None
    began: float
    outcome: str


class Tally:
    """What this client did since it started. Upstreams and methods are bounded by the gate."""

    def __init__(self) -> None:
        self.now = time.monotonic
        self.lanes: dict[tuple[str, str], Lane] = {}
        """By upstream and method."""
        self.denials: Counter[str] = Counter()
        """What the policy here did not let through, by upstream."""
        self.reconnects: Counter[str] = Counter()
        """Further attempts to make a link, by what ended the one before."""
        self.resumed = 0
        """Times that a cut link went on over another connection."""

    def begin(self, exchange: Counted, upstream: str, request: UpstreamRequest) -> None:
        """Note what an exchange is, and when it began."""
        envelope = request.envelope
        method = request.method if envelope is None else envelope.method or "response"
        key = (upstream, method)
        lane = self.lanes.get(key)
        if lane is None:
            lane = self.lanes[key] = {}
        exchange.lane, exchange.began = lane, self.now()

    def end(self, exchange: Counted) -> None:
        """Count an exchange that is over."""
        lane = exchange.lane
        if lane is None:
            return
        exchange.lane = None
        series = lane.get(exchange.outcome)
        if series is None:
            series = lane[exchange.outcome] = Series()
        now = self.now()
        series.add(now - exchange.began, now)

    @property
    def last(self) -> float:
        """When an exchange ended last, by the clock of `now`; 0 before the first."""
        series = (each for lane in self.lanes.values() for each in lane.values())
        return max((each.last for each in series), default=0.0)

    def newest(self) -> dict[str, dict[str, float]]:
        """Return for each upstream how many seconds ago each outcome was seen last."""
        now, found = self.now(), dict[str, dict[str, float]]()
        for (upstream, _), lane in self.lanes.items():
            outcomes = found.setdefault(upstream, {})
            for outcome, series in lane.items():
                outcomes[outcome] = min(now - series.last, outcomes.get(outcome, now))
        return found

    def denied(self, exchange: Counted, upstream: str) -> None:
        """Count an exchange that the policy does not let through."""
        exchange.outcome = "denied"
        self.denials[upstream] += 1


def close_name(code: int) -> str:
    """Return the name of a close code, `other` for one that is not ours: a peer may send any."""
    return CloseCode(code).name.lower() if code in _CLOSE_CODES else "other"
