"""Durations of calls as OTLP/HTTP has metrics in JSON, named by the MCP conventions.

A line says how long one call took, and what it was. A request counts its lines into histograms of
delta temporality: what is counted is what the request's records say, so nothing is kept between two
requests. Only calls that went out are counted, and only names that an operator knows are labels: an
agent cannot make series of its own.
Source: github.com/open-telemetry/semantic-conventions-genai, docs/gen-ai/mcp.md; the boundaries are
those it recommends.
"""

import json
from bisect import bisect_left
from collections.abc import Iterable
from typing import Any

from shared.record.export.joined import Event, Origin
from shared.record.export.otlp import SERVER, attributes_of, kind_of, listed, resource_of
from shared.record.export.words import FAILURE, outcome
from shared.record.model import COMPLETION

BOUNDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_DELTA = 1
_NAMES = {True: "mcp.server.operation.duration", False: "mcp.client.operation.duration"}
_LABELS = frozenset(
    (
        *("mcp.method.name", "gen_ai.operation.name", "gen_ai.tool.name"),
        *("error.type", "mcp_tunnel.server", "mcp_tunnel.class"),
    )
)


def measured(event: Event) -> dict[str, Any] | None:
    """Return what a call took; None for every record but its completion."""
    record = event.record
    if record.kind != COMPLETION or event.intent is None:
        return None
    labels = {name: value for name, value in attributes_of(event).items() if name in _LABELS}
    if not event.what.definition:
        labels.pop("gen_ai.tool.name", None)  # not pinned: whatever an agent calls it
    if outcome(event) != FAILURE and record.result not in ("", "ok"):
        labels["error.type"] = record.result  # of a timeout nobody knows what the upstream did
    return {"labels": labels, "time": record.time * 1000, "us": record.us}


def metrics_request(lines: Iterable[bytes], origin: Origin) -> dict[str, Any]:
    """Return lines of `measured` as the body of one request."""
    series: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        found = json.loads(line)
        series.setdefault(json.dumps(found["labels"], sort_keys=True), []).append(found)
    metric = {
        "name": _NAMES[kind_of(origin) == SERVER],
        "description": "Duration of MCP requests and notifications",
        "unit": "s",
        "histogram": {
            "aggregationTemporality": _DELTA,
            "dataPoints": [_point(each) for each in series.values()],
        },
    }
    resource, scope = resource_of(origin)
    scoped = [{"scope": scope, "metrics": [metric]}] if series else []
    return {"resourceMetrics": [{"resource": resource, "scopeMetrics": scoped}]}


def _point(found: list[dict[str, Any]]) -> dict[str, Any]:
    counts = [0] * (len(BOUNDS) + 1)
    for each in found:
        counts[bisect_left(BOUNDS, each["us"] / 1e6)] += 1
    times = [each["time"] for each in found]
    return {
        "attributes": listed(found[0]["labels"]),
        # An interval excludes its begin.
        "startTimeUnixNano": str(max(0, min(times) - 1)),
        "timeUnixNano": str(max(times)),
        "count": str(len(found)),
        "sum": sum(each["us"] for each in found) / 1e6,
        "bucketCounts": [str(each) for each in counts],
        "explicitBounds": list(BOUNDS),
    }
