"""Lines that somebody else can cause are few, and what is left out is counted."""

from shared.few import Few


def test_lines_are_few_and_the_next_one_counts_those_left_out() -> None:
    few = Few(most=2, period=10.0)
    assert [few.take(1.0) for _ in range(5)] == [0, 0, None, None, None]
    assert few.take(10.9) is None
    assert [few.take(11.0) for _ in range(3)] == [4, 0, None]
    assert few.take(30.0) == 1
