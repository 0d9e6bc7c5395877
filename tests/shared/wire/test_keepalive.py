"""When a peer is asked, and when it is given up: a clock of numbers, no waiting."""

import pytest

from shared.wire.keepalive import Keepalive

INTERVAL, DEADLINE = 15.0, 10.0


def make(now: float = 0.0) -> Keepalive:
    return Keepalive(INTERVAL, DEADLINE, now)


def asked(timers: Keepalive, now: float) -> bytes:
    payload = timers.check(now)
    assert payload is not None
    assert len(payload) == 8
    return payload


def test_nothing_is_asked_before_the_interval_is_over() -> None:
    timers = make(now=100.0)
    assert timers.next_deadline == 115.0
    assert timers.check(114.9) is None
    assert asked(timers, 115.0)


def test_a_silent_peer_is_gone_after_interval_and_deadline_t28() -> None:
    """T28: 25 s at most, with the default limits."""
    timers = make()
    asked(timers, 15.0)
    assert timers.next_deadline == 25.0
    assert not timers.expired(24.9)
    assert timers.expired(25.0)


def test_an_answer_clears_the_deadline_and_tells_the_round_trip() -> None:
    timers = make()
    payload = asked(timers, 15.0)
    assert timers.answered(payload, 15.25) == 0.25
    assert not timers.expired(1000.0)
    assert timers.next_deadline == 30.0


def test_every_ping_differs() -> None:
    timers = make()
    first = asked(timers, 15.0)
    timers.answered(first, 15.1)
    assert asked(timers, 30.0) != first


@pytest.mark.parametrize("payload", [b"", bytes(8), b"\xff" * 8])
def test_an_answer_to_nothing_is_no_answer(payload: bytes) -> None:
    timers = make()
    asked(timers, 15.0)
    assert timers.answered(payload, 16.0) is None
    assert timers.expired(25.0)


def test_an_answer_counts_once() -> None:
    timers = make()
    payload = asked(timers, 15.0)
    timers.answered(payload, 16.0)
    assert timers.answered(payload, 17.0) is None


def test_any_message_moves_the_deadline_while_an_answer_is_owed() -> None:
    timers = make()
    asked(timers, 15.0)
    timers.heard(20.0)
    assert not timers.expired(29.9)
    assert timers.expired(30.0)


def test_a_message_without_a_question_moves_nothing() -> None:
    timers = make()
    timers.heard(14.0)
    assert timers.next_deadline == 15.0
    assert not timers.expired(1e9)


def test_a_peer_that_talks_but_never_answers_is_asked_again() -> None:
    timers = make()
    first = asked(timers, 15.0)
    timers.heard(24.0)
    second = asked(timers, 30.0)
    assert timers.answered(first, 31.0) is None
    assert timers.answered(second, 31.0) == 1.0


def test_a_peer_that_answered_can_be_asked_again_at_once() -> None:
    keepalive = Keepalive(15, 10, 0)
    first = keepalive.check(15)
    assert first is not None
    assert keepalive.answered(first, 15.5) == 0.5
    again = keepalive.ask(15.5)
    assert again != first
    assert keepalive.answered(again, 15.75) == 0.25
    assert keepalive.next_deadline == 30.5


def test_how_long_an_answer_is_owed_counts_silence_only() -> None:
    timers = make()
    assert timers.owed_for(14.0) == 0.0, "nothing was asked"
    timers.ask(4.0)
    assert timers.owed_for(6.0) == 2.0
    timers.heard(7.0)
    assert timers.owed_for(9.0) == 0.0, "a message is as good as an answer"
    payload = timers.ask(10.0)
    assert timers.owed_for(12.0) == 2.0
    timers.answered(payload, 13.0)
    assert timers.owed_for(14.0) == 0.0
