"""Credit: given when bytes are consumed, grown with the distance, never beyond what is counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.wire.limits import KIB, MIB
from shared.wire.windows import MAX_CREDIT, FlowControlError, ReceiveWindow, SendWindow

GIB = 1024 * MIB


def test_credit_goes_back_a_quarter_of_the_window_at_a_time() -> None:
    window = ReceiveWindow(100)
    window.received(100)
    assert window.consumed(24) == 0
    assert window.consumed(1) == 25
    assert window.available == 25


def test_a_window_is_low_below_a_quarter() -> None:
    window = ReceiveWindow(100)
    window.received(75)
    assert not window.low
    window.received(1)
    assert window.low


def test_bytes_that_only_arrive_give_no_credit_back() -> None:
    window = ReceiveWindow(100)
    window.received(100)
    assert window.available == 0
    with pytest.raises(FlowControlError):
        window.received(1)


def test_a_window_used_up_within_a_round_trip_doubles_up_to_its_limit() -> None:
    window = ReceiveWindow(100, 250)
    sizes = []
    for now in (0.1, 0.2, 0.3):
        window.received(window.available)
        window.consumed(window.size, now, round_trip=0.1)
        sizes.append(window.size)
    assert sizes == [200, 250, 250]
    assert window.available == 250


def test_a_window_grows_to_twice_what_is_under_way_and_no_further() -> None:
    window, now, rate, round_trip = ReceiveWindow(1000, 64_000), 0.0, 100_000, 0.1
    for _ in range(1000):
        count = window.size // 4
        now += count / rate
        window.received(count)
        window.consumed(count, now, round_trip)
    assert rate * round_trip <= window.size <= 4 * rate * round_trip


def test_a_window_that_allows_enough_already_does_not_grow_into_a_queue() -> None:
    near = ReceiveWindow(256 * KIB, 4 * MIB)
    far = ReceiveWindow(256 * KIB, 4 * MIB)
    for window, round_trip in ((near, 0.0002), (far, 0.04)):
        now = 0.0
        for _ in range(100):
            count = window.size // 4
            now += count / (2 * GIB)
            window.received(count)
            window.consumed(count, now, round_trip)
    assert near.size == 256 * KIB
    assert far.size == 4 * MIB


def test_a_window_used_up_slowly_keeps_its_size() -> None:
    window = ReceiveWindow(100, 400)
    for now in (1.0, 2.0, 3.0):
        window.received(100)
        assert window.consumed(100, now, round_trip=0.1) == 100
    assert window.size == 100


@pytest.mark.parametrize("credit", [0, MAX_CREDIT, 2**32 - 1])
def test_no_credit_and_too_much_are_both_refused(credit: int) -> None:
    with pytest.raises(FlowControlError):
        SendWindow(1).add(credit)


@given(
    st.integers(1, 1000),
    st.lists(st.tuples(st.integers(0, 300), st.floats(0, 1)), max_size=50),
)
def test_credit_is_conserved(size: int, reads: list[tuple[int, float]]) -> None:
    window, sender, unread, now = ReceiveWindow(size, 4 * size), SendWindow(size), 0, 0.0
    for count, wait in reads:
        now += wait
        window.received(sender.available)
        unread, sender.available = unread + sender.available, 0
        taken = min(count, unread)
        unread -= taken
        if grant := window.consumed(taken, now, round_trip=0.2):
            sender.add(grant)
        assert window.available == sender.available
        assert window.available + unread <= window.size <= window.largest
        assert window.size - window.available - unread < window.size / 4
