"""Durations of calls as OTLP/HTTP has metrics in JSON, named by the MCP conventions.

A line says how long one call took, what it was, and what all calls of its kind come to with it. A
request has the newest line of each kind, as histograms of cumulative temporality: one that is sent
again says what was said before, and counts nothing twice. Only calls that went out are counted, and
only names that an operator knows are labels: an agent cannot make series of its own. A client can,
who tells a relay what is pinned: so no tunnel takes more than half of what the others leave.
Source: github.com/open-telemetry/semantic-conventions-genai, docs/gen-ai/mcp.md; the boundaries are
those it recommends.
"""

import json
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from shared.policy.methods import FREE, RULED, TOOL_NAME
from shared.record.export.joined import Event, Origin
from shared.record.export.otlp import SERVER, attributes_of, kind_of, listed, resource_of
from shared.record.export.words import FAILURE, outcome
from shared.record.model import COMPLETION

BOUNDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
MAX_SERIES = 1000
"""Series that are kept; calls of more kinds are one more together, as SDKs have it."""
MAX_NAME = 600
"""Characters of the labels of one, which no known names exceed: all are kept in one small file."""
_OTHERS = {"otel.metric.overflow": True}
_CUMULATIVE = 2
_NAMES = {True: "mcp.server.operation.duration", False: "mcp.client.operation.duration"}
_LABELS = frozenset(
    (
        *("mcp.method.name", "gen_ai.operation.name", "gen_ai.tool.name"),
        *("error.type", "mcp_tunnel.server", "mcp_tunnel.class"),
    )
)
_METHODS = FREE.keys() | RULED | {"response"}
_ANOTHER = "_OTHER"
"""What the conventions call a method that is none of those known."""
_TUNNEL = re.compile(r'"mcp_tunnel\.server": "([^"/]*)')
Kept = Mapping[str, list[int]]
"""By labels, as JSON: begin and newest end in nanoseconds, microseconds together, then buckets."""
_HEAD = 3


class Totals:
    """What all calls come to so far, by their labels."""

    def __init__(self) -> None:
        self._series: dict[str, list[int]] = {}
        self._taken: Counter[str] = Counter()
        """How many of them are of one tunnel; at a client, of one server."""

    @property
    def kept(self) -> Kept:
        """All of it, to be restored later; stays as it is."""
        return dict(self._series)

    def restore(self, kept: Kept) -> None:
        """Go on from there; series of other boundaries begin anew."""
        size = _HEAD + len(BOUNDS) + 1
        self._series = {
            name: each for name, each in kept.items() if len(each) == size and len(name) <= MAX_NAME
        }
        self._taken = Counter(map(_tunnel, self._series))

    def measured(self, event: Event) -> dict[str, Any] | None:
        """Count a call and return its line; None for every record but a call's completion."""
        record = event.record
        if record.kind != COMPLETION or event.intent is None:
            return None
        labels = _labels(event)
        name = json.dumps(labels, sort_keys=True)
        if name not in self._series:
            if not self._has_room(name):
                labels = _OTHERS
                name = json.dumps(labels)
            self._taken[_tunnel(name)] += name not in self._series
        ended, took = record.time * 1000, record.us
        # An interval excludes its begin.
        fresh = [max(0, ended - took * 1000 - 1), 0, 0, *[0] * (len(BOUNDS) + 1)]
        begun, newest, sum_, *counts = self._series.get(name, fresh)
        counts[bisect_left(BOUNDS, took / 1e6)] += 1
        # A clock that was set back makes no point older than one that was sent.
        newest, sum_ = max(newest, ended), sum_ + took
        self._series[name] = [begun, newest, sum_, *counts]
        said = {"buckets": counts, "count": sum(counts), "start": begun, "sum_us": sum_}
        return {"labels": labels, "time": newest, "us": took, **said}

    def _has_room(self, name: str) -> bool:
        # Half of what others leave: nobody's series, however many, keep all of another's out.
        return len(name) <= MAX_NAME and self._taken[_tunnel(name)] + len(self._series) < MAX_SERIES


def _tunnel(name: str) -> str:
    found = _TUNNEL.search(name)
    return "" if found is None else found[1]


def _labels(event: Event) -> dict[str, Any]:
    what = event.what
    labels = {name: value for name, value in attributes_of(event).items() if name in _LABELS}
    if not what.definition or TOOL_NAME.fullmatch(what.name) is None:
        labels.pop("gen_ai.tool.name", None)  # not pinned: whatever an agent calls it
    if what.method and what.method not in _METHODS:
        labels["mcp.method.name"] = _ANOTHER
    result = event.record.result
    if outcome(event) != FAILURE and result not in ("", "ok"):
        labels["error.type"] = result  # of a timeout nobody knows what the upstream did
    return labels


def metrics_request(lines: Iterable[bytes], origin: Origin) -> dict[str, Any]:
    """Return lines of `measured`, in order, as the body of one request."""
    newest: dict[str, dict[str, Any]] = {}
    for line in lines:
        found = json.loads(line)
        newest[json.dumps(found["labels"], sort_keys=True)] = found
    metric = {
        "name": _NAMES[kind_of(origin) == SERVER],
        "description": "Duration of MCP requests and notifications",
        "unit": "s",
        "histogram": {
            "aggregationTemporality": _CUMULATIVE,
            "dataPoints": [_point(each) for each in newest.values()],
        },
    }
    resource, scope = resource_of(origin)
    scoped = [{"scope": scope, "metrics": [metric]}] if newest else []
    return {"resourceMetrics": [{"resource": resource, "scopeMetrics": scoped}]}


def _point(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "attributes": listed(found["labels"]),
        "startTimeUnixNano": str(found["start"]),
        "timeUnixNano": str(found["time"]),
        "count": str(found["count"]),
        "sum": found["sum_us"] / 1e6,
        "bucketCounts": [str(each) for each in found["buckets"]],
        "explicitBounds": list(BOUNDS),
    }
