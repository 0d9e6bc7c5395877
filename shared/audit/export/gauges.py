"""What Prometheus gets of a log and its copies; labels are names from the configuration."""

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

PREFIX = "mcp_tunnel_audit_"


def audit_metrics(status: Mapping[str, Any]) -> Iterator[Metric]:
    """Return the metrics of what `status` says of a log; nothing when it is off."""
    if not status.get("on"):
        return
    exports = status.get("exports", ())
    lag = max((each["seconds"] for each in exports), default=0.0)
    yield _gauge("failing", "1 while nothing can be written.", float(bool(status["failing"])))
    yield _gauge("lag_seconds", "For how long the oldest record waits to be exported.", lag)
    records = GaugeMetricFamily(
        f"{PREFIX}lag_records", "Records that wait to be exported.", labels=["export"]
    )
    failing = GaugeMetricFamily(
        f"{PREFIX}export_failing", "1 while a copy does not go out.", labels=["export"]
    )
    missed = CounterMetricFamily(
        f"{PREFIX}export_missed", "Records removed before they went out.", labels=["export"]
    )
    for each in exports:
        records.add_metric([each["name"]], each["behind"])
        failing.add_metric([each["name"]], float(bool(each["problem"])))
        missed.add_metric([each["name"]], each["missed"])
    yield from (records, failing, missed)


def _gauge(name: str, what: str, value: float) -> GaugeMetricFamily:
    family = GaugeMetricFamily(PREFIX + name, what)
    family.add_metric([], value)
    return family
