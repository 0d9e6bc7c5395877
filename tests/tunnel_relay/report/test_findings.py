"""Findings: put together, sorted, bounded, and what they come to."""

from typing import Any

from tunnel_relay.report.findings import MAX_PLACES, SEVERITIES, Check, found_in, verdict


def check(name: str, severity: str, *places: str) -> Check:
    return Check(name, severity, "title", "why", "next", lambda _: places)


def test_what_is_found_nowhere_is_no_finding_and_the_gravest_comes_first() -> None:
    checks = [check("a", "low", "x"), check("b", "high", "y"), check("c", "medium")]
    found = found_in({}, checks)
    assert [(each["id"], each["places"]) for each in found] == [("b", ["y"]), ("a", ["x"])]


def test_places_are_bounded_and_the_rest_is_counted() -> None:
    (found,) = found_in({}, [check("a", "low", *map(str, range(MAX_PLACES + 7)))])
    assert (len(found["places"]), found["more"]) == (MAX_PLACES, 7)


def test_the_verdict_follows_the_gravest() -> None:
    def word(*severities: str) -> Any:
        return verdict([{"severity": each} for each in severities])["word"]

    assert [word(), word("low"), word("low", "medium")] == ["good", "good", "review"]
    assert word("medium", "high", "low") == "act"
    assert verdict([{"severity": "low"}])["counts"] == dict.fromkeys(SEVERITIES, 0) | {"low": 1}
