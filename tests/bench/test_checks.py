"""What the checks of a call cost: the figures, and what stands in for the checks."""

import inspect
from typing import cast

from bench.base import Peer
from bench.checks import REMEMBERED, SHIPPED, report
from bench.cost import Corner
from bench.unchecked import REMEMBERED as STANDS_IN


def a_corner(*us: float) -> Corner:
    corner = Corner(cast(Peer, None))
    corner.us["relay"], corner.rate = list(us), [1000.0] * len(us)
    return corner


def test_rounds_are_compared_with_each_other() -> None:
    text = report({SHIPPED: a_corner(50, 90, 70), REMEMBERED: a_corner(45, 85, 65)})
    assert "added by the checks: 5.0 us a call" in text
    assert text.endswith("promise <= 20 us: ok")


def test_a_promise_that_is_not_kept_is_told() -> None:
    text = report({SHIPPED: a_corner(90), REMEMBERED: a_corner(50)})
    assert text.endswith("promise <= 20 us: NOT KEPT")


def test_what_stands_in_takes_what_the_relay_gives() -> None:
    for owner, name, stands_in in STANDS_IN:
        real = list(inspect.signature(getattr(owner, name)).parameters)[1:]
        assert list(inspect.signature(stands_in).parameters)[1:] == real
