"""The fault table: rows that were run, what each held, and how the document shows it."""

import math
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Line:
    """One figure beside its bound; `held` is None where there is no bound or nothing was run."""

    what: str
    bound: str
    figure: str
    held: bool | None


Act = Callable[[], Awaitable[list[Line]]]


class Row(NamedTuple):
    """A fault: what is done, and the way to do it."""

    name: str
    fault: str
    act: Act


ROWS: dict[str, Row] = {}
"""By name, filled by the modules of this package."""


def row(name: str, fault: str) -> Callable[[Act], Act]:
    """Put a function into the table."""

    def add(act: Act) -> Act:
        ROWS[name] = Row(name, fault, act)
        return act

    return add


def number(name: str) -> int:
    """Return where a row stands."""
    return int(name[1:])


def at_most(what: str, value: float, bound: float, unit: str, digits: int = 2) -> Line:
    """Hold a figure to the most it may be."""
    held = value <= bound
    return Line(what, f"<= {bound:g} {unit}", f"{value:,.{digits}f} {unit}", held)


def exactly(what: str, value: int, bound: int, of: int | None = None) -> Line:
    """Hold a count to what it must be."""
    figure = f"{value:,}" if of is None else f"{value:,} of {of:,}"
    return Line(what, f"{bound:,}", figure, value == bound)


def shown(what: str, figure: str) -> Line:
    """Say something that has no bound."""
    return Line(what, "", figure, None)


def not_run(why: str) -> Line:
    """Say why something could not be run."""
    return Line("not run", "", why, None)


def quantile(values: Sequence[float], part: float) -> float:
    """Return the smallest value that so many of all do not exceed; raises ValueError on none."""
    if not values:
        raise ValueError("nothing was measured")
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]


START = "<!-- faults: written by `make faults`, do not edit -->"
END = "<!-- end of faults -->"
HEAD = [
    "| row | what | bound | figure | held | measured |",
    "| --- | --- | --- | --- | --- | --- |",
]
_CELL = re.compile(r"^\| (R\d+):")


def cells(found: Row, lines: Iterable[Line], when: str) -> list[str]:
    """Return a row's lines as those of a Markdown table."""
    where = f"{when}, {os.cpu_count()} cores, load {os.getloadavg()[1]:.0f}"
    said = {True: "yes", False: "**NO**", None: ""}
    return [
        f"| {found.name}: {found.fault} | {line.what} | {line.bound} | {_plain(line.figure)} "
        f"| {said[line.held]} | {where} |"
        for line in lines
    ]


def _plain(text: str) -> str:
    return " ".join(text.replace("|", "/").split())


def merged(document: str, ran: dict[str, list[str]]) -> str:
    """Return the document with the lines of the rows that ran replaced, the others as they were.

    Raises ValueError without the two markers.
    """
    before, start, rest = document.partition(START)
    old, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError("the document has no place for the fault table")
    kept: dict[str, list[str]] = {}
    for line in old.splitlines():
        named = _CELL.match(line)
        if named is not None and named[1] not in ran:
            kept.setdefault(named[1], []).append(line)
    rows = kept | ran
    table = [line for name in sorted(rows, key=number) for line in rows[name]]
    return before + start + "\n" + "\n".join([*HEAD, *table]) + "\n" + end + after
