"""Patterns of names: `*` is any run of characters, `?` is any one, all else is itself."""

import re
from collections.abc import Callable

Matcher = Callable[[str], bool]
_WILD = re.compile(r"[*?]")


def is_exact(pattern: str) -> bool:
    """Does the pattern stand for one name only?"""
    return _WILD.search(pattern) is None


def literal_head(pattern: str) -> str:
    """Return what every name that fits begins with."""
    return _WILD.split(pattern, maxsplit=1)[0]


def matcher(pattern: str) -> Matcher:
    """Return a test for whole names, case-sensitive.

    Its time is bounded by the length of the pattern times that of the name: no pattern makes it
    explode, as a regular expression with several `*` would.
    """
    if is_exact(pattern):
        return pattern.__eq__
    if pattern == "*":
        return _anything
    start = literal_head(pattern)
    return lambda name: name.startswith(start) and matches(pattern, name)


def matches(pattern: str, name: str) -> bool:
    """Tell whether the whole name fits the pattern."""
    at = place = 0
    star = resume = -1
    while place < len(name):
        if at < len(pattern) and pattern[at] == "*":
            star, resume = at, place
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", name[place]):
            at += 1
            place += 1
        elif star >= 0:
            # The last star takes one more; earlier stars never need another look.
            resume += 1
            at, place = star + 1, resume
        else:
            return False
    return pattern[at:].strip("*") == ""


def _anything(_: str) -> bool:
    return True
