"""Whether a call could be served now: a round trip over the link lately, and each upstream. Pure.

The link is pinged anyway, and each HTTP upstream is listed every five minutes: nothing is asked for
whoever looks at the health port.
"""

from collections.abc import Mapping
from typing import Any

FRESH_SECONDS = 30.0
"""A ping every 15 s and 10 s for its answer: a link that is silent for longer is no link."""
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
    reason = _link(status)
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
    if not status.get("round_trip_ms"):
        return "no round trip yet"
    return "the link is silent" if status.get("heard_ago", 0.0) > FRESH_SECONDS else None


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
