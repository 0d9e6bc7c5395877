"""Ready means that a round trip succeeded lately, and that somebody would answer."""

from typing import Any

import pytest

from tunnel_client.readiness import STALE_SECONDS, readiness

LINK = {"connected": True, "round_trip_ms": 3.5, "heard_ago": 2.0, "silent_after": 25.0}
STATUS: dict[str, Any] = {
    "connected": True,
    "links": [LINK],
    "round_trip_ms": 3.5,
    "heard_ago": 2.0,
    "upstreams": ["files", "tickets"],
    "tools": {"files": {}, "tickets": {}},
    "credentials": [],
    "stdio": [],
}


def reasons(shown: dict[str, Any]) -> dict[str, str | None]:
    return {name: each["reason"] for name, each in shown["upstreams"].items()}


def test_a_link_that_answers_and_upstreams_without_a_fault_are_ready() -> None:
    shown = readiness(STATUS, {"files": {"ok": 3.0}})
    assert (shown["ready"], shown["reason"]) == (True, None)
    assert reasons(shown) == {"files": None, "tickets": None}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"connected": False}, "no link"),
        ({"links": [LINK | {"round_trip_ms": 0.0}]}, "no round trip yet"),
        ({"links": [LINK | {"heard_ago": 26.1}]}, "the link is silent"),
        ({"links": [LINK | {"heard_ago": 26.1}, {"connected": False}]}, "the link is silent"),
    ],
)
def test_a_link_that_is_up_but_silent_is_not_ready(change: dict[str, Any], reason: str) -> None:
    shown = readiness(STATUS | change, {})
    assert (shown["ready"], shown["reason"]) == (False, reason)


@pytest.mark.parametrize(
    "links",
    [
        [LINK | {"heard_ago": 25.9}],
        # A relay may ping as seldom as every minute, and is idle in between.
        [LINK | {"heard_ago": 60.0, "silent_after": 70.0}],
        [LINK | {"heard_ago": 40.0}, LINK | {"heard_ago": 40.0, "silent_after": 70.0}],
    ],
)
def test_a_link_that_need_not_say_anything_yet_is_not_silent(links: list[dict[str, Any]]) -> None:
    assert readiness(STATUS | {"links": links}, {})["ready"]


def test_one_upstream_that_answers_is_enough_and_the_other_has_its_reason() -> None:
    shown = readiness(STATUS, {"files": {"upstream_unreachable": 1.0, "ok": 5.0}})
    assert shown["ready"]
    assert reasons(shown) == {"files": "unreachable", "tickets": None}
    both = {name: {"timeout": 1.0} for name in STATUS["upstreams"]}
    shown = readiness(STATUS, both)
    assert (shown["ready"], shown["reason"]) == (False, "no upstream answers")


@pytest.mark.parametrize("outcome", ["ok", "http_error"])
def test_an_answer_after_a_failure_clears_it(outcome: str) -> None:
    failed = {"upstream_broke": 9.0, outcome: 1.0}
    assert reasons(readiness(STATUS, {"files": failed}))["files"] is None


def test_an_old_failure_says_nothing_any_more() -> None:
    shown = readiness(STATUS, {"files": {"timeout": STALE_SECONDS + 1}})
    assert reasons(shown)["files"] is None


def test_what_keeps_an_upstream_from_being_asked_at_all_comes_first() -> None:
    status = STATUS | {
        "tools": {"files": {"listing_error": "secret words"}, "tickets": {}},
        "credentials": [{"upstream": "tickets", "problem": "secret words"}],
    }
    shown = readiness(status, {})
    assert reasons(shown) == {"files": "tools not listed", "tickets": "no credential"}
    assert "secret words" not in str(shown)
    stdio = [{"name": "files", "refused": "because"}]
    assert reasons(readiness(STATUS | {"stdio": stdio}, {}))["files"] == "may not be started"


def test_nothing_configured_is_no_fault() -> None:
    assert readiness(STATUS | {"upstreams": [], "tools": {}}, {})["ready"]
