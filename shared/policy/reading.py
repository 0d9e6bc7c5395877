"""Small readers for policy trees: each adds a problem and returns None rather than raising."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from shared.configfile import NEAR, Problem
from shared.policy.yamltree import Tree

_DURATION = re.compile(r"([1-9][0-9]{0,5})(s|m|h|d)")
_DIGITS = re.compile(r"[0-9]{1,9}")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Place:
    """A value, the line to blame and its dotted key."""

    tree: Tree
    line: int
    key: str

    def below(self, name: str) -> "Place":
        """Return a member of this map."""
        assert isinstance(self.tree.value, dict)  # noqa: S101 - for mypy
        key = f"{self.key}.{name}" if self.key else name
        return Place(self.tree.value[name], self.tree.lines[name], key)


class Report:
    """Collects the problems of one file."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[Problem] = []

    def add(self, place: Place, message: str) -> None:
        """Note what is wrong at a place."""
        self.problems.append(Problem(self.source, place.line, place.key, message))


def check_keys(
    place: Place, report: Report, valid: Iterable[str], required: Iterable[str] = ()
) -> dict[str, Place] | None:
    """Return the known members of a map; None when it is no map."""
    value = place.tree.value
    if not isinstance(value, dict):
        report.add(place, f"is a map with the keys {', '.join(valid)}")
        return None
    members = {name: place.below(name) for name in value}
    for name in [name for name in members if name not in valid]:
        prefix = f"{place.key}." if place.key else ""
        report.add(members.pop(name), f"unknown key; {nearest(name, valid, prefix)}")
    for name in required:
        if name not in members:
            key = f"{place.key}.{name}" if place.key else name
            report.problems.append(Problem(report.source, place.line, key, "is required"))
    return members


def nearest(word: str, valid: Iterable[str], prefix: str = "") -> str:
    """Say which valid word was probably meant, or which there are."""
    valid = sorted(valid)
    near = difflib.get_close_matches(word, valid, 1, NEAR)
    return f"did you mean {prefix}{near[0]}?" if near else f"valid here: {', '.join(valid)}"


def one_text(place: Place, report: Report) -> str | None:
    """Return text that is not empty."""
    value = place.tree.value
    if isinstance(value, str) and value:
        return value
    report.add(place, "is text, and not empty")
    return None


def one_of(place: Place, report: Report, valid: Iterable[str]) -> str | None:
    """Return one of a few words."""
    text = one_text(place, report)
    if text is None or text in valid:
        return text
    report.add(place, f"not known; {nearest(text, valid)}")
    return None


def texts(place: Place, report: Report) -> tuple[str, ...] | None:
    """Return one text, or a list of them that is not empty."""
    value = place.tree.value
    if not isinstance(value, list):
        text = one_text(place, report)
        return None if text is None else (text,)
    if not value:
        report.add(place, "an empty list matches nothing; leave the key out, or say what matches")
        return None
    found = [
        one_text(Place(tree, tree.line, f"{place.key}[{number}]"), report)
        for number, tree in enumerate(value)
    ]
    return None if None in found else tuple(text for text in found if text is not None)


def number(place: Place, report: Report, least: int, most: int) -> int | None:
    """Return a whole number, written in digits."""
    value = place.tree.value
    if isinstance(value, str) and _DIGITS.fullmatch(value) and least <= int(value) <= most:
        return int(value)
    report.add(place, f"is a whole number from {least} to {most}")
    return None


def truth(place: Place, report: Report) -> bool | None:
    """Return true or false; no other words for them."""
    word = one_of(place, report, ("true", "false"))
    return None if word is None else word == "true"


def duration(place: Place, report: Report) -> float | None:
    """Return a span of time in seconds."""
    value = place.tree.value
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        report.add(place, "durations look like 90s, 15m, 8h or 7d")
        return None
    return float(int(found[1]) * _SECONDS[found[2]])
