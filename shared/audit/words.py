"""Refuses a question in words that no record has: nothing found would read as never happened."""

from typing import Any

from shared.audit.index import COLUMNS
from shared.audit.query import Query, Wanted
from shared.escape import one_line
from shared.policy.classes import ToolClass
from shared.policy.model import Effect
from shared.record import kinds
from shared.record.model import Result

_KNOWN: dict[str, tuple[str, ...]] = {
    "class": tuple(ToolClass),
    "decision": tuple(Effect),
    "result": tuple(Result),
}
MAX_SHOWN = 60


class UnknownWordError(ValueError):
    """A filter that fits no record there could be; says what there is."""

    def __init__(self, column: str, text: str) -> None:
        super().__init__(text)
        self.column = column


def check_words(log: Query, wanted: Wanted) -> None:
    """Raise UnknownWordError for what neither our tables nor the log know; AuditError as a page.

    The log is asked as well: one of another version may hold words that are not ours.
    """
    asked = wanted.words()
    for column in (each for each in COLUMNS if each in asked):
        word = asked[column]
        there = _instead(column, word)
        alone: dict[str, Any] = {"tool_class" if column == "class" else column: word}
        if there and not log.page(Wanted(**alone), limit=1).records:
            said = f"no {column} {one_line(repr(word), MAX_SHOWN)}; there is: {', '.join(there)}"
            raise UnknownWordError(column, said)


def _instead(column: str, word: str) -> tuple[str, ...]:
    """Return what there is when a word is none of it, nothing when it is or could be."""
    if column != "kind":
        known = _KNOWN.get(column, ())
        return () if word in known else known
    if any(each.startswith(word) for each in (*kinds.WRITTEN, *kinds.BEGINNINGS)):
        return ()
    family = word.partition(".")[0] + "."
    return tuple(each for each in kinds.WRITTEN if each.startswith(family)) or kinds.BEGINNINGS
