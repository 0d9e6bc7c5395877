"""Order statistics: values that were measured, and honest answers about nothing."""

import math

import pytest

from bench.stats import latency_figures, median, quantile, slope


@pytest.mark.parametrize(
    ("part", "value"), [(0.0, 1), (0.25, 1), (0.5, 2), (0.75, 3), (0.99, 4), (1.0, 4)]
)
def test_a_quantile_is_a_value_that_was_measured(part: float, value: float) -> None:
    assert quantile([1, 2, 3, 4], part) == value


def test_the_slowest_of_a_thousand_is_not_hidden_by_p999() -> None:
    ordered = [1.0] * 998 + [50.0, 70.0]
    assert quantile(ordered, 0.999) == 50.0
    assert quantile(ordered, 1.0) == 70.0


def test_nothing_measured_is_not_a_number() -> None:
    assert math.isnan(quantile([], 0.5))
    assert math.isnan(median([]))
    assert math.isnan(slope([(10, 5)]))
    assert math.isnan(slope([(10, 5), (10, 9)]))


def test_latencies_are_told_in_microseconds() -> None:
    figures = latency_figures([3000, 1000, 2000])
    assert (figures["n"], figures["p50"], figures["max"]) == (3, 2.0, 3.0)


def test_the_slack_before_the_first_stream_does_not_change_the_slope() -> None:
    assert slope([(10, 5000), (1000, 5000 + 990 * 20), (2000, 5000 + 1990 * 20)]) == pytest.approx(
        20
    )
