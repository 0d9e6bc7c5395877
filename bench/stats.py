"""Order statistics for latencies and repeats: pure, no clock."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence


def quantile(ordered: Sequence[float], part: float) -> float:
    """The nearest-rank quantile of an ascending sequence; NaN of an empty one.

    Nearest rank (not interpolation), so that every figure printed is a value that was measured.
    `part` is 0 to 1.
    """
    if not ordered:
        return math.nan
    rank = math.ceil(part * len(ordered))
    return ordered[min(len(ordered), max(rank, 1)) - 1]


def latency_figures(nanoseconds: Iterable[int]) -> Mapping[str, float]:
    """n, p50, p90, p99, p999 and max of some latencies, in microseconds."""
    ordered = sorted(value / 1000 for value in nanoseconds)
    return {
        "n": len(ordered),
        "p50": quantile(ordered, 0.5),
        "p90": quantile(ordered, 0.9),
        "p99": quantile(ordered, 0.99),
        "p999": quantile(ordered, 0.999),
        "max": quantile(ordered, 1.0),
    }


def median(values: Sequence[float]) -> float:
    """The median; NaN of nothing."""
    return statistics.median(values) if values else math.nan


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Growth of y per x by least squares; NaN with fewer than two different x.

    Memory per stream is a slope, not a quotient: the slack of a new heap hides the first ones.
    """
    if len({x for x, _ in points}) < 2:
        return math.nan
    return statistics.linear_regression([x for x, _ in points], [y for _, y in points]).slope
