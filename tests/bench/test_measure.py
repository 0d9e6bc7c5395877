"""How long to measure: the pure part of the metrics."""

import pytest

from bench.measure import SLOW_SECONDS, long_enough


@pytest.mark.parametrize(
    ("rate", "conns", "seconds"),
    [
        (20_000, 64, 3.0),
        (32, 1, 3.0),
        (32, 64, 10.0),
        (0, 64, SLOW_SECONDS),
    ],
)
def test_a_slow_peer_is_measured_until_each_connection_had_answers(
    rate: float, conns: int, seconds: float
) -> None:
    assert long_enough(rate, conns, 3.0) == pytest.approx(seconds)
