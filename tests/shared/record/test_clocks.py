"""How far apart two ends say that calls were."""

import pytest

from shared.record.clocks import Clocks
from shared.record.differences import CLOCKS, Difference


def seen(*apart: int) -> list[tuple[int, bool]]:
    clocks = Clocks(10)
    for number, each in enumerate(apart):
        clocks.see(each, Difference(CLOCKS, f"l.{number}", "c", 1, 1, "", False, 0, 0))
    return [(each.calls, each.grave) for each in clocks.findings()]


@pytest.mark.parametrize(
    ("apart", "found"),
    [
        ([], []),
        ([0, 5, -5, 9], []),
        ([0, 500, 501, 502], [(3, False)]),
        ([500, 500, 0, 0], [(2, False)]),
        ([-500, -495, 0, 0, 700, 701], [(4, False)]),
        ([0, 0, 500, 0, 0], [(1, True)]),
        ([0, 0, 500], [(1, True)]),
        ([0, 500, 900, 0], [(2, True)]),
        ([0, 500, 501, 90, 500], [(1, True), (3, False)]),
    ],
)
def test_calls_that_are_moved_together_are_a_clock_and_one_alone_is_none(
    apart: list[int], found: list[tuple[int, bool]]
) -> None:
    assert seen(*apart) == found
