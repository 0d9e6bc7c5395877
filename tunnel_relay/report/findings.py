"""What a reviewer should know first: a table of findings, each a pure look at a report's facts."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

Doc = dict[str, Any]
Look = Callable[[Doc], Iterable[str]]

SEVERITIES = ("high", "medium", "low")
MAX_PLACES = 50


class Check(NamedTuple):
    """One thing to look for. `look` yields each place where it is so."""

    id: str
    severity: str
    title: str
    why: str
    next: str
    look: Look


def found_in(doc: Doc, checks: Sequence[Check]) -> list[Doc]:
    """Return what is found, the gravest first, with the places."""
    found = []
    for check in checks:
        places = list(check.look(doc))
        if places:
            fields = {name: getattr(check, name) for name in ("id", "severity", "title", "why")}
            more = max(0, len(places) - MAX_PLACES)
            shown = places[:MAX_PLACES]
            found.append({**fields, "next": check.next, "places": shown, "more": more})
    return sorted(found, key=lambda each: SEVERITIES.index(each["severity"]))


def verdict(findings: Sequence[Doc]) -> Doc:
    """Return what the findings come to, in a word, a sentence and numbers."""
    counts = {each: sum(one["severity"] == each for one in findings) for each in SEVERITIES}
    if counts["high"]:
        word = "act"
        said = "Something here defeats a protection. Mend the findings of severity high first."
    elif counts["medium"]:
        word = "review"
        said = "The protections stand. Some of what is allowed is wider than it has to be."
    else:
        word = "good"
        said = "Nothing was found that weakens a protection."
    return {"word": word, "said": said, "counts": counts}
