"""Patterns of names."""

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.policy.globs import is_exact, matcher, matches


@given(pattern=st.text("ab*?", max_size=8), name=st.text("ab", max_size=8))
def test_they_mean_what_shells_mean_by_star_and_question_mark(pattern: str, name: str) -> None:
    expected = re.fullmatch(fnmatch.translate(pattern), name) is not None
    assert matches(pattern, name) is expected
    assert matcher(pattern)(name) is expected


@pytest.mark.parametrize("name", ["[ab]", "a.b", "a+", "^a$", "A"])
def test_everything_else_is_itself(name: str) -> None:
    assert is_exact(name)
    assert matcher(name)(name)
    assert not matcher(name)("a")


def test_many_stars_take_no_longer_than_pattern_times_name() -> None:
    """Row P09: this would keep a backtracking matcher busy for ever."""
    assert not matches("*a" * 40 + "b", "a" * 5000)
