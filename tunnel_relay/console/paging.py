"""Long listings in pages. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

PAGE = 50


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing; pages are numbered from 1."""

    rows: Sequence[dict[str, Any]]
    number: int
    pages: int
    total: int
    query: str


def number_of(text: str) -> int:
    """Return the number of a page as an address says it; 1 for what is none."""
    right = text.isascii() and text.isdigit() and len(text) < 7
    return max(1, int(text)) if right else 1


def page_of(rows: Iterable[dict[str, Any]], query: str, number: str, keys: Sequence[str]) -> Page:
    """Return a page of the rows in which one of `keys` holds `query`, whatever its case."""
    wanted = query.strip().lower()
    found = list(rows)
    if wanted:
        found = [row for row in found if any(wanted in str(row[key]).lower() for key in keys)]
    pages = max(1, -(-len(found) // PAGE))
    at = min(number_of(number), pages)
    return Page(found[(at - 1) * PAGE : at * PAGE], at, pages, len(found), query.strip())
