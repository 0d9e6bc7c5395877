"""The bounds this project promises to keep, computed from the rows of one run: pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from bench.rows import Results

OURS = "tunnel"
SSH = "ssh_r"
# A hop that buffers delivers an event with the next one, so an interval late.
EVENT_INTERVAL_US = 50_000
SLACK_US = 5_000


@dataclass(frozen=True, slots=True)
class Bound:
    """What is promised: a figure at least, or at most, some limit.

    `figure` and `limit` are NaN when they were not measured.
    """

    what: str
    figure: float
    limit: float
    at_least: bool
    unit: str

    @property
    def kept(self) -> bool | None:
        """Whether the promise is kept; None when it was not measured."""
        if math.isnan(self.figure) or math.isnan(self.limit):
            return None
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit

    @property
    def verdict(self) -> str:
        return {True: "ok", False: "missed", None: "not measured"}[self.kept]


def bounds(results: Results, aware: Iterable[str]) -> list[Bound]:
    """Every promise with its figure; `aware` names the MCP-aware peers to be ahead of."""
    aware = [name for name in aware if name != OURS]
    return [*_correct(results), *_speed(results, aware), *_fair(results), *_streams(results)]


def _correct(results: Results) -> list[Bound]:
    """No wrong, refused or lost answer counts as speed."""
    counted = [
        value
        for upstream in ("static", "mcp")
        for metric in ("correct", "rps", "bulk", "fairness", "sse", "idle")
        for point in results.points(upstream, metric)
        for figure in ("wrong", "errors", "failed", "lost", "closed")
        for value in results.samples(OURS, upstream, metric, point, figure)
    ]
    failed = [row for row in results.errors() if row.peer == OURS and row.metric != "start"]
    bad = sum(counted) + len(failed) if counted or failed else math.nan
    return [_most("wrong, failed or lost answers, all loads", bad, 0, "")]


def _speed(results: Results, aware: list[str]) -> list[Bound]:
    def to_ssh(metric: str, point: str, figure: str) -> float:
        return results.ratio(OURS, SSH, "static", metric, point, figure)

    lines = [
        _least(
            f"calls/s at c={conns}, x {SSH}",
            to_ssh("rps", f"c={conns}", "rps"),
            limit,
            "x",
        )
        for conns, limit in ((16, 0.9), (64, 0.65))
    ]
    for conns in (16, 64):
        best = _best(results, aware, f"c={conns}")
        ours = results.median(OURS, "mcp", "rps", f"c={conns}", "rps")
        what = f"calls/s at c={conns}, x the best MCP-aware peer"
        lines.append(_least(what, ours / best, 4, "x"))
    p50 = results.median(OURS, "static", "lat1", "c=1", "p50")
    added = p50 - results.median("direct", "static", "lat1", "c=1", "p50")
    slowest = results.median(OURS, "static", "lat1", "c=1", "p999")
    lines.append(_most("added p50 at c=1", added / 1000, 0.35, "ms"))
    lines.append(_most("p99.9 at c=1", slowest / 1000, 5, "ms"))
    for conns, limit in ((1, 0.8), (4, 0.5)):
        ratio = to_ssh("bulk", f"16m c={conns}", "MBps")
        lines.append(_least(f"16 MiB results at c={conns}, x {SSH}", ratio, limit, "x"))
    return lines


def _best(results: Results, aware: list[str], point: str) -> float:
    rates = [results.median(peer, "mcp", "rps", point, "rps") for peer in aware]
    return max((rate for rate in rates if not math.isnan(rate)), default=math.nan)


def _fair(results: Results) -> list[Bound]:
    def p99(point: str) -> float:
        return results.median(OURS, "static", "fairness", point, "p99")

    limit = 2 * p99("alone") + SLACK_US
    lines = [
        _most(f"small-call p99 beside {told} of 16 MiB", p99(point) / 1000, limit / 1000, "ms")
        for point, told in (
            ("flowing", "a flowing result"),
            ("stalled 1", "a stalled reader"),
            ("stalled 8", "8 stalled readers"),
        )
    ]
    grown = results.median(OURS, "static", "fairness", "stalled 8", "grown_mib")
    lines.append(_most("memory growth under 8 stalled 16 MiB readers", grown, 16, "MiB"))
    return lines


def _streams(results: Results) -> list[Bound]:
    interval = EVENT_INTERVAL_US / 1000

    def paced(figure: str) -> float:
        return results.median(OURS, "mcp", "sse", "paced", figure) / 1000

    def one(metric: str, point: str, figure: str) -> float:
        return results.median(OURS, "mcp", metric, point, figure)

    return [
        _most("SSE first byte p99, events 50 ms apart", paced("first_byte_p99"), interval, "ms"),
        _most("SSE event p99, events 50 ms apart", paced("p99"), interval, "ms"),
        _most(
            "relay memory per idle SSE stream", one("idle", "slope", "relay_kib_each"), 25, "KiB"
        ),
        _most("relay memory per idle TLS link", one("links", "slope", "relay_kib_each"), 64, "KiB"),
        _most("`tunnel-client --help`", one("help", "--help", "ms"), 200, "ms"),
    ]


def _least(what: str, figure: float, limit: float, unit: str) -> Bound:
    return Bound(what, figure, limit, True, unit)


def _most(what: str, figure: float, limit: float, unit: str) -> Bound:
    return Bound(what, figure, limit, False, unit)
