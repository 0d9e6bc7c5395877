"""Full jitter: anything between nothing and a ceiling that doubles up to a cap."""

from hypothesis import given
from hypothesis import strategies as st

from shared.backoff import Backoff


def test_the_ceiling_doubles_from_half_a_second_to_thirty() -> None:
    ceilings = [Backoff().ceiling(failures) for failures in range(1, 10)]
    assert ceilings == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_the_jitter_is_full() -> None:
    assert Backoff().delay(4, 0.0) == 0
    assert Backoff().delay(4, 0.5) == 2
    assert Backoff().delay(4, 1.0) == 4


@given(st.integers(0, 10**9), st.floats(0, 1))
def test_no_delay_is_longer_than_the_cap(failures: int, jitter: float) -> None:
    assert 0 <= Backoff().delay(failures, jitter) <= 30
