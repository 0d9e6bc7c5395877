"""What the relay tells Prometheus: read when it is asked for, from what the relay keeps anyway.

Labels come from configuration and from lists in the code: tunnels, upstreams, methods, outcomes.
Never a user, a session, a tool or a word of an agent (docs/adr/0020-metrics.md).
"""

from collections.abc import Iterable, Iterator

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
from tunnel_relay.admin.service import Admin
from tunnel_relay.clients.registry import Registry
from tunnel_relay.gateway.http import Gateway
from tunnel_relay.gateway.tally import BOUNDS, MAX_LANES, Series

PREFIX = "mcp_tunnel_"
_STREAMS = frozenset(("GET", "subscriptions/listen"))
"""What lasts as long as an agent listens: no duration of a call."""


class Metrics(Collector):
    """Collects on demand; `text` is what a scrape gets."""

    def __init__(
        self,
        admin: Admin,
        registry: Registry,
        gateway: Gateway,
        revocations: Series,
        enrolled: Iterable[str],
    ) -> None:
        """`enrolled`: tunnels that have a client, linked or not."""
        self._admin = admin
        self._links = registry
        self._gateway = gateway
        self._revocations = revocations
        self._tunnels = set(enrolled)
        """Those that should have links: who is gone is missed after a restart too."""
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def text(self) -> bytes:
        """Return everything in the text format of Prometheus."""
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        """Return nothing: the names need no look at the relay when it starts."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Return what is so now."""
        yield _gauge("build_info", "Which program this is.", version=VERSION, program="relay")
        yield from self._of_links()
        yield from self._of_calls()
        yield from self._of_people()
        yield from self._of_state()

    def _of_links(self) -> Iterator[Metric]:
        links = _gauges("links", "Links that are up. 0: it has a client, or had links.", "tunnel")
        trips = _gauges("link_rtt_seconds", "Longest round trip of a tunnel's links.", "tunnel")
        live = dict(self._links.by_tunnel())
        if len(self._tunnels) + len(live) > MAX_LANES:
            self._tunnels.clear()
        self._tunnels |= live.keys()
        for tunnel in sorted(self._tunnels):
            # A tunnel that was deleted or is off is no tunnel without links.
            known = self._admin.tunnels.get(tunnel)
            if tunnel in live or (known is not None and not known.disabled):
                links.add_metric([tunnel], len(live.get(tunnel, ())))
        for tunnel, each in live.items():
            trips.add_metric([tunnel], max(link.driver.round_trip for link in each))
        yield links
        yield trips
        lost = _counters("links_lost", "Links that ended, by why.", "reason")
        for reason, count in self._links.lost.items():
            lost.add_metric([reason], count)
        yield lost
        crowded = _counters("handshakes_crowded", "Handshakes that were one too many.", "outcome")
        for outcome in ("refused", "dropped"):
            crowded.add_metric([outcome], self._links.crowded[outcome])
        yield crowded
        resumed = _counters("links_resumed", "Times that a cut link went on.")
        resumed.add_metric([], self._links.resumed)
        yield resumed

    def _of_calls(self) -> Iterator[Metric]:
        tally = self._gateway.tally
        yield _gauge("streams_active", "Calls under way.", self._gateway.live)
        calls = _counters("calls", "Calls that are over.", "upstream", "method", "outcome")
        sums: dict[str, Series] = {}
        for (upstream, method), lane in list(tally.lanes.items()):
            for outcome, series in list(lane.items()):
                calls.add_metric([upstream, method, outcome], sum(series.counts))
                if method not in _STREAMS:
                    sums.setdefault(upstream, Series()).merge(series)
        yield calls
        spans = HistogramMetricFamily(
            f"{PREFIX}call_duration_seconds",
            "From when a call was sent until its answer was over.",
            labels=["upstream"],
        )
        for upstream, series in sums.items():
            spans.add_metric([upstream], buckets(series), series.total)
        yield spans
        denials = _counters("denials", "Calls that the relay's policy turned away.", "upstream")
        for upstream, count in tally.denials.items():
            denials.add_metric([upstream], count)
        yield denials
        refused = _counters("refused", "Answers of the relay's own, by HTTP status.", "status")
        for status, count in tally.refusals.items():
            refused.add_metric([str(status)], count)
        yield refused

    def _of_people(self) -> Iterator[Metric]:
        now = self._admin.clock()
        sessions = self._admin.sessions
        known = (session.id for session in sessions.each())
        living = sum(refusal is None for _, refusal in sessions.look(known, now))
        yield _gauge("sessions_active", "Sessions that may call now.", living)
        approvals = self._admin.approvals
        pending = len(approvals.pending())
        yield _gauge("approvals_pending", "Calls that wait for a person.", pending)
        cuts = HistogramMetricFamily(
            f"{PREFIX}revocation_seconds",
            "From the order to cut sessions until every client answered.",
            buckets=buckets(self._revocations),
            sum_value=self._revocations.total,
        )
        yield cuts

    def _of_state(self) -> Iterator[Metric]:
        failures = CounterMetricFamily(
            f"{PREFIX}store_errors", "Failed attempts to write to the database."
        )
        failures.add_metric([], self._admin.lease.failures)
        yield failures
        yield from audit_metrics(self._admin.records.status())


def buckets(series: Series) -> list[tuple[str, float]]:
    """Return the counts as Prometheus has them: each bucket holds those below it."""
    found, count = [], 0
    for bound, more in zip([*map(str, BOUNDS), "+Inf"], series.counts, strict=True):
        count += more
        found.append((bound, float(count)))
    return found


def _gauge(name: str, help_text: str, value: float = 1, **labels: str) -> GaugeMetricFamily:
    family = _gauges(name, help_text, *labels)
    family.add_metric(list(labels.values()), value)
    return family


def _gauges(name: str, help_text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, help_text, labels=labels)


def _counters(name: str, help_text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(PREFIX + name, help_text, labels=labels)
