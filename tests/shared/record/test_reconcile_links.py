"""A relay's log against its clients': calls of links that no client's log names in time."""

import pytest

from shared.record.differences import Reconciled
from shared.record.reconcile import reconcile
from tests.shared.record.logs import LINK, SECOND, Log, both, found, kinds


def test_a_link_that_no_clients_log_speaks_of_is_one_finding() -> None:
    relay, client = both()
    link = "feed" * 4
    for stream in range(5):
        relay.end(stream, relay.at(2000 + stream).begin(stream, link), link=link)
    report = found(relay, client)
    (one,) = report.findings
    assert (one.kind, one.calls, one.grave) == ("unknown link", 5, True)


def strange(relay: Log, link: str, *times: int) -> None:
    """Have the relay alone know answered calls over a link, at these times."""
    for stream, when in enumerate(times):
        relay.end(stream, relay.at(when).begin(stream, link), link=link)


def told(report: Reconciled) -> list[tuple[str, int, bool]]:
    return [(each.kind, each.calls, each.grave) for each in report.findings]


def test_each_call_of_an_unknown_link_is_covered_or_not_by_its_own_time() -> None:
    relay, client = both()
    strange(relay, "feed" * 4, 500, *range(2000, 2010), 9500, 9600)
    relay.records.sort(key=lambda each: int(each["time"]))
    client.at(9000).add("audit.closed")
    relay.at(9700).add("audit.closed")
    report = reconcile(relay.records, {"c": client.records}, slack=5)
    assert told(report) == [("not covered", 3, False), ("unknown link", 10, True)]
    assert (report.grave, report.uncompared, report.ok) == (10, 3, False)


def test_of_an_unknown_link_it_counts_that_any_clients_log_covers_the_call() -> None:
    relay, early, late = Log(), Log(), Log(3000)
    strange(relay, "feed" * 4, 2000, 4000, 8000)
    early.at(5000).add("audit.closed")
    late.at(7000).add("audit.closed")
    relay.at(9000).add("audit.closed")
    clients = {"c": early.records, "d": late.records}
    report = reconcile(relay.records, clients, slack=5, window=100)
    assert told(report) == [("unknown link", 2, True), ("not covered", 1, False)]


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """No call is waited for beyond the window, as where there are very many."""
    monkeypatch.setattr("shared.record.reconcile.KEPT_ALONE", 0)


@pytest.mark.usefixtures("hasty")
def test_of_a_link_that_is_named_late_its_own_log_has_to_cover_the_call() -> None:
    relay, other, own = Log(), Log(), Log(3000)
    strange(relay, "feed" * 4, 2000, 4000, 4010)
    own.at(5000).add("relay.started")
    own.at(6000).add("link.down", link="feed" * 4)
    for log in (relay, other, own):
        log.at(9000).add("audit.closed")
    clients = {"c": other.records, "d": own.records}
    report = reconcile(relay.records, clients, slack=5, window=100)
    assert told(report) == [("not covered", 1, False), ("only the relay knows", 2, True)]
    assert {each.log for each in report.findings} == {"d"}


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(("began", "kind"), [(1990, "in a gap"), (2005, "only the relay knows")])
def test_a_gap_excuses_calls_that_are_told_together_when_all_lie_in_it(
    began: int, kind: str
) -> None:
    relay, client = Log(), Log()
    strange(relay, "feed" * 4, 2000, 2020)
    gap = {"began": began * SECOND, "ended": 2030 * SECOND, "refused": 2, "lost": 0}
    client.at(4000).add("audit.gap", **gap)
    client.add("link.down", link="feed" * 4)
    for log in (relay, client):
        log.at(9000).add("audit.closed")
    report = reconcile(relay.records, {"c": client.records}, slack=0)
    assert told(report) == [(kind, 2, kind != "in a gap")]


def test_of_too_many_unknown_links_the_rest_is_told_together_and_as_grave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.record.strange.MAX_LINKS", 2)
    relay, client = both()
    strange(relay, "a" * 16, 500)
    for digit in "bcde":
        strange(relay, digit * 16, 2000)
    relay.records.sort(key=lambda each: int(each["time"]))
    assert told(found(relay, client)) == [
        ("not covered", 1, False),
        ("unknown link", 1, True),
        ("unknown link", 3, True),
    ]


def test_a_slack_that_is_longer_than_the_window_holds_at_the_end_of_a_log() -> None:
    relay, client = both()
    relay.at(2000).call(2)
    strange(relay, "feed" * 4, 2001)
    for number in range(20):
        client.at(2002 + number).add("link.down", link=LINK)
    report = reconcile(relay.records, {"c": client.records}, slack=60, window=1)
    assert kinds(report) == {"not covered": False}
