"""A session and its user get what they may, and nobody pays for another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tunnel_relay.test_sessions import a_session
from tunnel_relay.quotas import BURST, Quota, Quotas, Waiting

NONE = Quota()


def test_a_session_gets_its_burst_and_then_its_rate() -> None:
    quotas, session = Quotas(Quota(calls_per_second=10), NONE), a_session("x")
    assert [quotas.take(session, 0.0) for _ in range(20)] == [0.0] * 20
    wait = quotas.take(session, 0.0)
    assert 0 < wait <= 0.1
    assert quotas.take(session, wait) == 0
    assert quotas.take(session, wait) > 0
    assert quotas.take(a_session("y"), 0.0) == 0


def test_many_sessions_of_one_user_count_together() -> None:
    """D03, P41: more sessions are not more of everything."""
    quotas = Quotas(NONE, Quota(calls_per_second=10, streams=3))
    sessions = [a_session(str(number)) for number in range(30)]
    assert sum(quotas.take(each, 0.0) == 0 for each in sessions) == 10 * BURST
    assert [quotas.begin(each, 0.0) for each in sessions[:5]] == [True] * 3 + [False] * 2
    quotas.end(sessions[0])
    assert quotas.begin(sessions[4], 0.0)


def test_what_is_under_way_is_bounded_and_comes_free_again() -> None:
    quotas, session = Quotas(Quota(streams=2), NONE), a_session("x")
    assert [quotas.begin(session, 0.0) for _ in range(3)] == [True, True, False]
    quotas.end(session)
    assert quotas.begin(session, 0.0)
    for _ in range(5):
        quotas.end(session)
    assert [quotas.begin(session, 0.0) for _ in range(3)] == [True, True, False]


def test_without_bounds_everything_passes_and_nothing_is_kept() -> None:
    quotas, session = Quotas(NONE, NONE), a_session("x")
    assert all(quotas.take(session, 0.0) == 0 and quotas.begin(session, 0.0) for _ in range(1000))
    for _ in range(1000):
        quotas.end(session)
    quotas.forget(10.0)
    assert not quotas._sessions
    assert not quotas._users


def test_meters_of_those_who_went_quiet_are_let_go() -> None:
    quotas = Quotas(Quota(calls_per_second=1, streams=9), NONE)
    busy, quiet = a_session("busy"), a_session("quiet")
    quotas.begin(busy, 0.0)
    quotas.take(quiet, 0.0)
    quotas.forget(BURST + 1)
    assert list(quotas._sessions) == [busy.id]


@given(st.lists(st.floats(0, 5), max_size=200))
def test_in_any_stretch_of_time_no_more_than_rate_and_burst_pass(pauses: list[float]) -> None:
    quotas, session, now, passed = Quotas(Quota(calls_per_second=7), NONE), a_session("x"), 0.0, []
    for pause in pauses:
        now += pause
        for _ in range(5):
            if quotas.take(session, now) == 0:
                passed.append(now)
    for index, start in enumerate(passed):
        for count, end in enumerate(passed[index:], 1):
            assert count <= 7 * (end - start) + 7 * BURST + 1e-6


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.4, 1.0])
def test_less_than_one_call_a_second_is_slow_and_not_never(rate: float) -> None:
    for of_session, of_user in ((rate, 0), (0, rate)):
        quotas = Quotas(Quota(calls_per_second=of_session), Quota(calls_per_second=of_user))
        session, now = a_session("x"), 0.0
        assert quotas.take(session, now) == 0
        while quotas.take(session, now) == 0:  # what may come at once
            pass
        wait = quotas.take(session, now)
        assert 0 < wait <= 1 / rate
        # What was counted is not forgotten before it is made good.
        quotas.forget(now + wait * 0.9)
        assert quotas.take(session, now + wait * 0.9) > 0
        assert quotas.take(session, now + wait * 1.001) == 0


def test_a_call_that_is_refused_for_the_user_costs_the_session_nothing() -> None:
    quotas = Quotas(Quota(calls_per_second=5), Quota(calls_per_second=5))
    greedy, modest = a_session("greedy"), a_session("modest")
    while quotas.take(greedy, 0.0) == 0:
        pass
    for _ in range(100):
        assert quotas.take(modest, 0.0) > 0
    assert [quotas.take(modest, 1.0) for _ in range(5)] == [0.0] * 5


def test_one_user_leaves_places_to_wait_for_others() -> None:
    """D03, D14."""
    waiting = Waiting(most=100, of_one=25)
    assert [waiting.begin("ada") for _ in range(30)].count(True) == 25
    assert sum(waiting.begin(f"user{number}") for number in range(100)) == 75
    assert not waiting.begin("late")
    waiting.end("ada")
    assert waiting.begin("late")
    assert not waiting.begin("ada")
    for _ in range(24):
        waiting.end("ada")
    assert "ada" not in waiting.each
