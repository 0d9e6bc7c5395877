"""Calls that fall into gaps of a log, in bounded memory."""

from hypothesis import given
from hypothesis import strategies as st

from shared.record.gaps import MAX_SPANS, Spans, joined

TIMES = st.integers(0, 200)
GAPS = st.lists(st.tuples(TIMES, TIMES), max_size=8)


@given(st.lists(TIMES, max_size=40), GAPS, st.integers(0, 5))
def test_as_many_lie_in_gaps_as_one_by_one(
    times: list[int], gaps: list[tuple[int, int]], slack: int
) -> None:
    spans = Spans()
    for when in times:
        spans.add(when, 2)
    inside = [
        any(began - slack <= when <= ended + slack for began, ended in gaps) for when in times
    ]
    assert spans.within(joined(gaps, slack)) == 2 * sum(inside)


def test_calls_that_are_told_together_lie_in_a_gap_when_the_first_and_the_last_do() -> None:
    spans = Spans()
    spans.add(10, 3, 20)
    assert [spans.within([gap]) for gap in ((10, 20), (11, 20), (10, 19))] == [3, 0, 0]


def test_many_calls_take_bounded_space_and_never_lie_in_a_gap_that_is_not_theirs() -> None:
    spans, calls = Spans(), 5 * MAX_SPANS
    gaps = [(0, calls), (9 * calls, 10 * calls)]
    for number in range(calls):
        spans.add(number, 1)
        spans.add(9 * calls + number, 1)
    assert len(spans) <= MAX_SPANS
    assert spans.within(joined(gaps, 0)) == 2 * calls
    # One that reaches over the edge of a gap is not excused for what lies within.
    beyond = spans.within(joined([(0, calls // 2)], 0))
    assert calls // 2 - 100 < beyond <= calls // 2 + 1
    assert spans.within([]) == 0
