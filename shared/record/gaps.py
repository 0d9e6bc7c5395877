"""Times of calls that one log does not know, and the gaps in which it could not be written; pure.

A gap ends up in a log when it is over, long after the first calls in it are missed. So the times of
all that may lie in one are kept until the end, in bounded space.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise

MAX_SPANS = 50_000

Gaps = Sequence[tuple[int, int]]


def joined(gaps: Iterable[tuple[int, int]], slack: int) -> list[tuple[int, int]]:
    """Return gaps in order, each longer by `slack` at both ends, and those that meet as one."""
    found: list[tuple[int, int]] = []
    for began, ended in sorted((began - slack, ended + slack) for began, ended in gaps):
        if ended < began:
            continue
        if found and began <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], ended))
        else:
            found.append((began, ended))
    return found


def covers(gaps: Gaps, first: int, last: int) -> bool:
    """Tell whether one of these, as `joined` returns them, reaches from `first` to `last`."""
    at = bisect_right(gaps, first, key=lambda gap: gap[0])
    return at > 0 and last <= gaps[at - 1][1]


class Spans:
    """Times of calls. Of too many, those near each other are kept in pairs: first and last time.

    A pair lies in a gap when both do, so a call beside a gap is never excused for one in it.
    """

    def __init__(self) -> None:
        self._spans: list[tuple[int, int, int]] = []

    def __len__(self) -> int:
        return len(self._spans)

    def add(self, when: int, calls: int, last: int = 0) -> None:
        """Keep the time of so many calls; `last`: of the last of them, where it is another."""
        self._spans.append((when, max(when, last), calls))
        if len(self._spans) > MAX_SPANS:
            self._pair()

    def within(self, gaps: Gaps) -> int:
        """Return how many of the calls lie in gaps that `joined` returned."""
        return sum(calls for first, last, calls in self._spans if covers(gaps, first, last))

    def _pair(self) -> None:
        spans = sorted(self._spans)
        lengths = sorted(max(before[1], after[1]) - before[0] for before, after in pairwise(spans))
        short = lengths[len(lengths) // 2]
        kept = spans[:1]
        alone = True
        for first, last, calls in spans[1:]:
            before = kept[-1]
            last_of_both = max(before[1], last)
            if alone and last_of_both - before[0] <= short:
                kept[-1] = (before[0], last_of_both, before[2] + calls)
                alone = False
            else:
                kept.append((first, last, calls))
                alone = True
        self._spans = kept
