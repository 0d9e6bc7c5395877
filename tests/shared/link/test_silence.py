"""When a silent peer is asked, and when its connection is doubted."""

import pytest

from shared.link.silence import asks_in, is_doubted
from shared.wire.limits import MAX_PINGS_PER_INTERVAL

INTERVAL = 15.0


@pytest.mark.parametrize(
    ("silent", "asked", "seconds"),
    [
        (0.0, 15.0, 1.0),  # it was heard just now
        (0.75, 15.0, 0.25),
        (1.0, 15.0, 0.0),
        (1.0, 1.0, 2.75),  # it answered a moment ago, and only the upstream takes its time
        (9.0, 3.75, 0.0),
    ],
)
def test_who_is_silent_for_a_while_is_asked_and_not_over_and_over(
    silent: float, asked: float, seconds: float
) -> None:
    assert asks_in(silent, asked, INTERVAL) == seconds


def test_no_peer_gets_more_pings_than_it_bears() -> None:
    """Those of a link that begins, and of one whose only call takes for ever."""
    now, asked = 0.0, [0.0] * 4
    while now < INTERVAL:
        now += asks_in(now - asked[-1], now - asked[-1], INTERVAL) or 0.01
        if not asks_in(now - asked[-1], now - asked[-1], INTERVAL):
            asked.append(now)
    assert 4 < len(asked) < MAX_PINGS_PER_INTERVAL


@pytest.mark.parametrize(
    ("owed", "round_trip", "doubted"),
    [(0.0, 0.0, False), (0.9, 0.0, False), (1.0, 0.0, True), (1.4, 0.5, False), (1.5, 0.5, True)],
)
def test_an_answer_that_is_due_for_long_is_doubted(
    owed: float, round_trip: float, doubted: bool
) -> None:
    assert is_doubted(owed, round_trip) is doubted
