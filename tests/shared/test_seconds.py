"""A number of seconds on the command line is between its bounds."""

import click
import pytest

from shared.seconds import Seconds


@pytest.mark.parametrize("text", ["nan", "-nan", "inf", "-inf", "3601", "1e999", "-0.1", "", "x"])
def test_what_is_not_between_the_bounds_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Seconds(0, 3600).convert(text, None, None)


def test_what_is_between_them_is_taken() -> None:
    taken = [Seconds(0, 3600).convert(each, None, None) for each in ("0", "0.5", "3600", 7.0)]
    assert taken == [0, 0.5, 3600, 7.0]
