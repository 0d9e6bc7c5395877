"""What a run writes down: one row per sample, and medians over rows."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.stats import median

# Samples while strangers used more cores than this give way to quieter ones of the same cell.
NOISY_CORES = 0.35


@dataclass(frozen=True, slots=True)
class Row:
    """One sample: which peer, over which upstream, which metric at which point, and its figures."""

    peer: str
    upstream: str
    metric: str
    point: str
    rep: int
    figures: Mapping[str, float] = field(default_factory=dict)
    error: str = ""


def write(row: Row, path: Path) -> None:
    """Append a row to a JSON lines file."""
    with path.open("a") as out:
        out.write(json.dumps(asdict(row)) + "\n")


def read(paths: Iterable[Path]) -> list[Row]:
    """Rows of JSON lines files; ValueError or TypeError when a line is not a row."""
    return [Row(**json.loads(line)) for path in paths for line in path.read_text().splitlines()]


class Results:
    """Medians over the rows of one run."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = list(rows)
        self._cells: dict[tuple[str, str, str, str], list[Row]] = {}
        for row in self.rows:
            key = (row.peer, row.upstream, row.metric, row.point)
            self._cells.setdefault(key, []).append(row)

    def samples(
        self, peer: str, upstream: str, metric: str, point: str, figure: str
    ) -> list[float]:
        """The values of one cell, the noisy ones left out where quiet ones exist."""
        rows = [
            row
            for row in self._cells.get((peer, upstream, metric, point), [])
            if not math.isnan(row.figures.get(figure, math.nan))
        ]
        quiet = [row for row in rows if row.figures.get("others", 0) <= NOISY_CORES]
        return [row.figures[figure] for row in quiet or rows]

    def median(self, peer: str, upstream: str, metric: str, point: str, figure: str) -> float:
        """The median of one cell; NaN when nothing was measured."""
        return median(self.samples(peer, upstream, metric, point, figure))

    def ratio(
        self, peer: str, base: str, upstream: str, metric: str, point: str, figure: str
    ) -> float:
        """Median of `peer` over median of `base`; NaN when one is missing or the base is zero."""
        below = self.median(base, upstream, metric, point, figure)
        if math.isnan(below) or below == 0:
            return math.nan
        return self.median(peer, upstream, metric, point, figure) / below

    def peers(self, upstream: str, metric: str) -> list[str]:
        """Peers with a sample of a metric, in the order they were first seen."""
        return list(dict.fromkeys(row.peer for row in self._of(upstream, metric)))

    def points(self, upstream: str, metric: str) -> list[str]:
        """Points of a metric, in the order they were first seen."""
        return list(dict.fromkeys(row.point for row in self._of(upstream, metric) if row.figures))

    def errors(self) -> list[Row]:
        """The samples that could not be taken."""
        return [row for row in self.rows if row.error]

    def _of(self, upstream: str, metric: str) -> Iterator[Row]:
        return (row for row in self.rows if (row.upstream, row.metric) == (upstream, metric))
