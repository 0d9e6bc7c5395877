"""Which clients are gone, so that MCP sessions of theirs are held for nobody."""

import pytest

from shared.errors import CloseCode
from shared.link.transport import CUT
from tunnel_relay.clients.absent import AWAY_SECONDS, MOST_STOPPED, Absent, is_gone

LEASE = 30.0
ONE, OTHER = ("office", "0" * 32), ("office", "1" * 32)


@pytest.mark.parametrize(
    ("may_connect", "stopped", "away", "others", "gone"),
    [
        (True, False, 0.0, True, False),  # cut, and may be resumed
        (True, False, AWAY_SECONDS - 0.1, True, False),  # may be on its way
        (True, False, AWAY_SECONDS, True, True),
        (True, False, 10 * AWAY_SECONDS, False, False),  # to begin anew would help nobody
        (True, True, 0.0, False, True),  # nothing of its process is left
        (False, False, 0.0, False, True),  # dropped or locked
    ],
)
def test_a_client_is_gone_when_it_brings_nothing_back(
    may_connect: bool, stopped: bool, away: float, others: bool, gone: bool
) -> None:
    facts = {"may_connect": may_connect, "stopped": stopped, "others": others}
    assert is_gone(away=away, **facts) is gone


def test_a_client_is_away_since_its_last_link_ended() -> None:
    absent = Absent(LEASE, lambda: 100.0)
    assert absent.away(ONE, 110.0) == 10.0  # since the relay began
    absent.lost(ONE, 150.0)
    assert absent.away(ONE, 151.0) == 1.0
    absent.back(ONE)
    absent.lost(ONE, 200.0)
    assert absent.away(ONE, 201.0) == 1.0


def test_who_went_long_ago_is_forgotten_and_away_for_longer_than_anybody_waits() -> None:
    absent = Absent(LEASE, lambda: 0.0)
    absent.lost(ONE, 10.0)
    absent.lost(OTHER, 10.0 + AWAY_SECONDS)
    assert list(absent._lost) == [OTHER]
    assert absent.away(ONE, 10.0 + AWAY_SECONDS) >= AWAY_SECONDS


def test_a_lease_runs_from_the_loss_of_the_last_link() -> None:
    absent = Absent(LEASE, lambda: 0.0)
    absent.lost(ONE, 10.0)
    absent.lost(OTHER, 20.0)
    assert list(absent.leases(25.0)) == [(ONE, 15.0), (OTHER, 25.0)]
    assert list(absent.leases(40.0)) == [(OTHER, 10.0)]


def test_only_a_goodbye_says_that_a_client_stopped() -> None:
    absent = Absent(LEASE)
    for code in (CUT, CloseCode.NORMAL, CloseCode.REPLACED):
        absent.closed(ONE, code)
    assert not absent.stopped(ONE)
    absent.closed(ONE, CloseCode.GOING_AWAY)
    assert absent.stopped(ONE)
    absent.back(ONE)
    assert not absent.stopped(ONE)


def test_no_more_than_so_many_that_stopped_are_remembered() -> None:
    absent = Absent(LEASE)
    for number in range(MOST_STOPPED + 1):
        absent.closed(("office", str(number)), CloseCode.GOING_AWAY)
    assert len(absent._stopped) == MOST_STOPPED
    assert not absent.stopped(("office", "0"))
