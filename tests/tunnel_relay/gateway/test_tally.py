from types import SimpleNamespace
from typing import Any

from tunnel_relay.gateway import tally
from tunnel_relay.gateway.tally import BOUNDS, MAX_LANES, OTHER, Series, Tally


def an_exchange(place: str, method: str | None, outcome: str = "ok", kind: str = "POST") -> Any:
    envelope = None if kind != "POST" else SimpleNamespace(method=method)
    call = SimpleNamespace(
        envelope=envelope,
        session=SimpleNamespace(place=place),
        request=SimpleNamespace(method=kind.encode()),
    )
    return SimpleNamespace(call=call, outcome=outcome, lane={}, began=0.0)


def test_a_call_is_counted_by_place_method_and_outcome_when_it_ends() -> None:
    now = [10.0]
    counted = Tally(lambda: now[0])
    exchange = an_exchange("office/git", "tools/call", "timeout")
    counted.begin(exchange)
    assert counted.lanes == {("office/git", "tools/call"): {}}
    now[0] = 10.3
    counted.end(exchange)
    series = counted.lanes["office/git", "tools/call"]["timeout"]
    assert sum(series.counts) == 1
    assert series.counts[BOUNDS.index(0.5)] == 1
    assert round(series.total, 3) == 0.3


def test_what_is_no_request_has_a_name_too() -> None:
    counted = Tally(lambda: 0.0)
    counted.begin(an_exchange("a/b", None))
    counted.begin(an_exchange("a/b", None, kind="GET"))
    assert set(counted.lanes) == {("a/b", "response"), ("a/b", "GET")}


def test_no_client_makes_the_relay_count_without_end() -> None:
    """Upstreams are named by clients: beyond a bound all of them are one."""
    counted = Tally(lambda: 0.0)
    for number in range(MAX_LANES + 50):
        exchange = an_exchange(f"a/{number}", "ping")
        counted.begin(exchange)
        counted.end(exchange)
        counted.denied(f"a/{number}")
    assert len(counted.lanes) == MAX_LANES + 1
    assert sum(counted.lanes[OTHER, "ping"]["ok"].counts) == 50
    assert len(counted.denials) == MAX_LANES + 1
    assert counted.denials[OTHER] == 50


def test_the_longest_spans_are_counted_too_and_sums_merge() -> None:
    one, other = Series(), Series()
    one.add(BOUNDS[-1] + 1)
    other.add(BOUNDS[0])
    one.merge(other)
    assert one.counts[-1] == one.counts[0] == 1
    assert round(one.total, 3) == round(tally.BOUNDS[-1] + 1 + BOUNDS[0], 3)
