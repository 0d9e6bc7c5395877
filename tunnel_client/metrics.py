"""What the client tells Prometheus and health checks: read when asked, from what it keeps anyway.

Labels are upstreams, methods, outcomes and reasons: configuration, or lists in the code.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from shared.audit.export.gauges import audit_metrics
from shared.version import VERSION
from tunnel_client.tally import BOUNDS, Tally

PREFIX = "mcp_tunnel_"
_STREAMS = frozenset(("GET", "subscriptions/listen"))
"""What lasts as long as an agent listens: no duration of a call."""
Status = Callable[[], Mapping[str, Any]]


class Metrics(Collector):
    """Collects on demand; `status` is what `tunnel-client status` shows."""

    def __init__(self, status: Status, tally: Tally) -> None:
        self._status = status
        self._tally = tally
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def text(self) -> bytes:
        """Return everything in the text format of Prometheus."""
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        """Return nothing: the names need no look at the client when it starts."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Return what is so now."""
        status = self._status()
        yield _gauge("build_info", "Which program this is.", version=VERSION, program="client")
        yield _gauge(
            "links", "Links that are up.", sum(each["connected"] for each in status["links"])
        )
        if status["connected"]:
            trip = status["round_trip_ms"] / 1000
            yield _gauge("link_rtt_seconds", "Round trip of the link.", trip)
        yield _gauge("streams_active", "Exchanges under way.", status.get("streams", 0))
        yield _gauge("sessions_active", "Sessions granted on the link.", status.get("grants", 0))
        tries = _counters("reconnects", "Further attempts to make a link, by why.", "reason")
        for reason, count in self._tally.reconnects.items():
            tries.add_metric([reason], count)
        yield tries
        resumed = _counters("links_resumed", "Times that a cut link went on.")
        resumed.add_metric([], self._tally.resumed)
        yield resumed
        yield from self._of_calls()
        yield from audit_metrics(status.get("audit", {}))
        hits = _counters("scrub_hits", "Secrets taken out of answers.", "upstream")
        for each in status["credentials"]:
            hits.add_metric([each["upstream"]], each["scrub_hits"])
        yield hits

    def _of_calls(self) -> Iterator[Metric]:
        calls = _counters("calls", "Exchanges that are over.", "upstream", "method", "outcome")
        sums: dict[str, tuple[list[int], float]] = {}
        for (upstream, method), lane in self._tally.lanes.items():
            for outcome, series in lane.items():
                calls.add_metric([upstream, method, outcome], sum(series.counts))
                if method not in _STREAMS:
                    counts, total = sums.get(upstream, ([0] * len(series.counts), 0.0))
                    added = [a + b for a, b in zip(counts, series.counts, strict=True)]
                    sums[upstream] = added, total + series.total
        yield calls
        spans = HistogramMetricFamily(
            f"{PREFIX}call_duration_seconds",
            "From when a call was judged here until its answer was over.",
            labels=["upstream"],
        )
        for upstream, (counts, total) in sums.items():
            spans.add_metric([upstream], _buckets(counts), total)
        yield spans
        denials = _counters("denials", "Calls that the policy here turned away.", "upstream")
        for upstream, count in self._tally.denials.items():
            denials.add_metric([upstream], count)
        yield denials


def _buckets(counts: list[int]) -> list[tuple[str, float]]:
    found, count = [], 0
    for bound, more in zip([*map(str, BOUNDS), "+Inf"], counts, strict=True):
        count += more
        found.append((bound, float(count)))
    return found


def _gauge(name: str, help_text: str, value: float = 1, **labels: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(PREFIX + name, help_text, labels=tuple(labels))
    family.add_metric(list(labels.values()), value)
    return family


def _counters(name: str, help_text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(PREFIX + name, help_text, labels=labels)
