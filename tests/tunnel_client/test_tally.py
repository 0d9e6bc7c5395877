from types import SimpleNamespace
from typing import Any

from shared.errors import CloseCode
from tunnel_client.tally import BOUNDS, Series, Tally, close_name
from tunnel_client.upstream.base import UpstreamRequest


def an_exchange() -> Any:
    return SimpleNamespace(lane=None, began=0.0, outcome="ok")


def a_request(method: str = "GET") -> UpstreamRequest:
    return UpstreamRequest(method, [], b"", None, "0" * 32, None)


def test_an_exchange_is_counted_once_and_by_its_outcome() -> None:
    tally = Tally()
    exchange = an_exchange()
    tally.begin(exchange, "git", a_request())
    assert tally.lanes == {("git", "GET"): {}}
    exchange.outcome = "timeout"
    tally.end(exchange)
    tally.end(exchange)
    assert sum(tally.lanes["git", "GET"]["timeout"].counts) == 1


def test_what_ends_before_it_was_judged_is_not_counted() -> None:
    tally = Tally()
    tally.end(an_exchange())
    assert tally.lanes == {}


def test_a_denial_is_an_outcome_too() -> None:
    tally = Tally()
    exchange = an_exchange()
    tally.begin(exchange, "git", a_request())
    tally.denied(exchange, "git")
    tally.end(exchange)
    assert tally.denials["git"] == 1
    assert set(tally.lanes["git", "GET"]) == {"denied"}


def test_what_took_longest_is_counted_too() -> None:
    series = Series()
    series.add(BOUNDS[-1] + 1, 0.0)
    assert series.counts[-1] == 1
    assert series.total == BOUNDS[-1] + 1


def test_a_peer_cannot_invent_reasons() -> None:
    assert close_name(CloseCode.GOING_AWAY) == "going_away"
    assert close_name(4999) == "other"


def test_when_an_exchange_ended_last_is_known() -> None:
    tally, now = Tally(), [0.0]
    tally.now = lambda: now[0]
    assert tally.last == 0.0
    for name, ended in (("git", 3.0), ("time", 5.0), ("git", 4.0)):
        exchange = an_exchange()
        tally.begin(exchange, name, a_request())
        now[0] = ended
        tally.end(exchange)
    assert tally.last == 5.0
