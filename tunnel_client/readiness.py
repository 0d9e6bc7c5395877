"""Whether a call could be served now: a round trip over the link lately, and each upstream. Pure.

The link is pinged anyway, and each HTTP upstream is listed every five minutes: nothing is asked for
whoever looks at the health port.
"""

from collections.abc import Mapping
from typing import Any

SLACK_SECONDS = 1.0
"""So much later than it is due the end of a silent link may be noticed."""
STALE_SECONDS = 300.0
"""A failed call says nothing any more: the upstream was listed since, or it is listed next."""
_FAILURES = {
    "upstream_unreachable": "unreachable",
    "upstream_broke": "its answer broke off",
    "timeout": "no answer in time",
}
"""Outcomes of calls that an upstream is to blame for, in words."""
_ANSWERS = frozenset(("ok", "http_error"))
Newest = Mapping[str, Mapping[str, float]]
"""For each upstream, how many seconds ago an exchange last ended with each outcome."""


def readiness(status: Mapping[str, Any], newest: Newest) -> dict[str, Any]:
    """Say whether a call could be served now, and what is wrong with which upstream.

    Reasons are words of ours: whoever is on this machine can read them.
    """
    reasons = {name: _reason(name, status, newest.get(name, {})) for name in status["upstreams"]}
    reason = "audit" if status.get("audit", {}).get("failing") is not None else _link(status)
    if reason is None and reasons and all(reasons.values()):
        reason = "no upstream answers"
    return {
        "ready": reason is None,
        "reason": reason,
        "round_trip_ms": status.get("round_trip_ms"),
        "heard_ago": status.get("heard_ago"),
        "upstreams": {name: {"reason": why} for name, why in sorted(reasons.items())},
    }


def _link(status: Mapping[str, Any]) -> str | None:
    if not status["connected"]:
        return "no link"
    links = [each for each in status["links"] if each["connected"]]
    if not any(each["round_trip_ms"] for each in links):
        return "no round trip yet"
    return None if any(map(_heard, links)) else "the link is silent"


def _heard(link: Mapping[str, Any]) -> bool:
    return bool(link["heard_ago"] <= link["silent_after"] + SLACK_SECONDS)


def _reason(name: str, status: Mapping[str, Any], newest: Mapping[str, float]) -> str | None:
    for each in status["stdio"]:
        if each["name"] == name and each["refused"]:
            return "may not be started"
    for each in status["credentials"]:
        if each["upstream"] == name and each.get("problem"):
            return "no credential"
    answered = min((ago for word, ago in newest.items() if word in _ANSWERS), default=STALE_SECONDS)
    for word, text in _FAILURES.items():
        if newest.get(word, STALE_SECONDS) < answered:
            return text
    if status["tools"].get(name, {}).get("listing_error") and answered >= STALE_SECONDS:
        return "tools not listed"
    return None
