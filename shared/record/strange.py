"""Calls that came over links no client's log had spoken of yet, together by link; pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from shared.record.differences import NOT_COVERED, RELAY_ONLY, Difference

MAX_LINKS = 100_000
UNKNOWN_LINK = "unknown link"


class Strange:
    """Counts such calls apart by the clients' logs that cover them, in bounded space.

    One call that no log covers must not speak for those before it, nor one that is covered.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, frozenset[str]], Difference] = {}

    def add(self, link: str, covering: Iterable[str], found: Difference) -> None:
        """Count a call; `covering`: names of the logs in which it would stand."""
        logs = frozenset(covering)
        if (link, logs) not in self._found and len(self._found) >= MAX_LINKS:
            link = ""
        _join(self._found, (link, logs), found)

    def findings(self, links: Mapping[str, str]) -> Iterator[Difference]:
        """Yield what came of them; `links`: by link, the log that spoke of it after all."""
        told: dict[tuple[str, str], Difference] = {}
        for (link, covering), found in self._found.items():
            log = links.get(link)
            found.kind, found.said = UNKNOWN_LINK, "no client's log speaks of this link"
            if log is not None:
                # Its first word came later than clocks and calls should be apart.
                found.kind, found.said, found.log = RELAY_ONLY, "out of the window", log
            if not (covering if log is None else log in covering):
                found.kind, found.grave = NOT_COVERED, False
            _join(told, (link, found.kind), found)
        yield from told.values()


def _join(known: dict[Any, Difference], key: Any, found: Difference) -> None:
    """Add a difference to the one that is told with it."""
    one = known.setdefault(key, found)
    if one is not found:
        one.calls += found.calls
        one.time, one.last = min(one.time, found.time), max(one.last, found.last)
