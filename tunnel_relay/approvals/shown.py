"""How arguments and definitions are shown to whoever approves: all of it, and nothing hidden. Pure.

A character that shows nothing, or that changes how others show, is written as its JSON escape. So
what is shown is still JSON of the same meaning, and a text cannot imitate it: its own backslashes
are doubled.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from shared.jsonrpc.canonical import canonical, exact

LONG = 60
"""Characters of a text from which on its length is told."""
PART = 4000
"""Pieces in a part of a text: a page has one part, and with so many little work."""
GOES_ON = "goes on in the next part"
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"))
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters and marks that show nothing, whatever Unicode calls them."""
_RUN = re.compile(r"[ -~]+|[^ -~]+")
"""What anybody sees for sure, or what has to be looked at: most texts are one run."""
_SEEN = re.compile(r"[ -~]+")
_WORD = re.compile(r"\w+")
_ALPHABETS = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC")
"""Those with letters that look like another's."""


class Piece(NamedTuple):
    """A piece of a line; `hidden`: it stands for a character that could not be seen."""

    text: str
    hidden: bool


class Line(NamedTuple):
    """One line; `note` tells what its looks do not."""

    depth: int
    pieces: tuple[Piece, ...]
    note: str = ""

    @property
    def text(self) -> str:
        """The line as plain text."""
        return "".join(piece.text for piece in self.pieces)


class LaidOut(NamedTuple):
    """A text laid out, and how much there is to read: bytes, characters that cannot be seen."""

    lines: list[Line]
    bytes: int
    hidden: int


def is_hidden(character: str) -> bool:
    """Tell whether a character shows nothing, or changes how others show."""
    if " " <= character <= "~":
        return False
    variation = "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    return (
        unicodedata.category(character) in _HIDDEN
        or character in _BLANK
        or variation
        or "\u180b" <= character <= "\u180f"
    )


def count_hidden(text: str) -> int:
    """Return how many characters of a text cannot be seen."""
    return sum(map(is_hidden, _SEEN.sub("", text)))


def pieces(text: str) -> tuple[Piece, ...]:
    """Return a text with what cannot be seen written as escapes."""
    if _SEEN.fullmatch(text):
        return (Piece(text, False),)
    return tuple(
        Piece("".join([shown for _, shown in run]), hidden)
        for hidden, run in groupby(_runs(text), itemgetter(0))
    )


def visible(text: str) -> str:
    """Return a text in one line in which nothing is hidden."""
    return "".join(shown for _, shown in _runs(text))


def lines(text: str) -> list[Line]:
    """Return JSON text laid out, a line for each value; of what is no JSON the text itself."""
    try:
        value = exact(text.encode())
    except ValueError:
        return [Line(0, pieces(text), "not JSON")]
    found: list[Line] = []
    _lay_out(found, value, 0, "", "")
    return found


def laid_out(text: str) -> LaidOut:
    """Return a text laid out, with how much it is."""
    return LaidOut(lines(text), len(text.encode()), count_hidden(text))


def in_one_line(text: str) -> LaidOut:
    """Return a text as it is, with how much it is."""
    return LaidOut([Line(0, pieces(text))], len(text.encode()), count_hidden(text))


def parts(laid_out: Iterable[Line]) -> list[list[Line]]:
    """Cut lines into parts of at most PART pieces; a line of more is cut, and each cut told."""
    found: list[list[Line]] = [[]]
    room = PART
    for line in laid_out:
        for each in _cut(line):
            if len(each.pieces) > room:
                found.append([])
                room = PART
            found[-1].append(each)
            room -= len(each.pieces)
    return found


def _cut(line: Line) -> Iterator[Line]:
    start = 0
    while len(line.pieces) - start > PART:
        yield Line(line.depth, line.pieces[start : start + PART], GOES_ON)
        start += PART
    yield line._replace(pieces=line.pieces[start:]) if start else line


def _runs(text: str) -> Iterator[tuple[bool, str]]:
    for run in _RUN.findall(text):
        if " " <= run[0] <= "~":
            yield False, run
        else:
            yield from map(_look, run)


@lru_cache(4096)
def _look(character: str) -> tuple[bool, str]:
    hidden = is_hidden(character)
    return hidden, _escape(character) if hidden else character


def _lay_out(found: list[Line], value: Any, depth: int, before: str, after: str) -> None:
    # Into one list: to hand each line up through every depth would be work for each of them.
    if isinstance(value, dict) and value:
        found.append(Line(depth, pieces(before + "{"), _count(len(value), "member")))
        _members(found, [(f"{_json(name)}: ", each) for name, each in value.items()], depth)
        found.append(Line(depth, (Piece("}" + after, False),)))
    elif isinstance(value, list) and value:
        found.append(Line(depth, pieces(before + "["), _count(len(value), "item")))
        _members(found, [("", each) for each in value], depth)
        found.append(Line(depth, (Piece("]" + after, False),)))
    else:
        note = _note(value) if isinstance(value, str) else ""
        found.append(Line(depth, pieces(before + _json(value) + after), note))


def _members(found: list[Line], members: list[tuple[str, Any]], depth: int) -> None:
    last = len(members) - 1
    for number, (before, each) in enumerate(members):
        _lay_out(found, each, depth + 1, before, "" if number == last else ",")


def _json(value: str | int | Decimal | bool | dict[str, Any] | list[Any] | None) -> str:
    return canonical(value).decode()


def _note(text: str) -> str:
    told = []
    hidden = count_hidden(text)
    if len(text) >= LONG or hidden:
        told.append(_count(len(text), "character"))
    if hidden:
        told.append(f"{hidden} not visible")
    if not text.isascii() and any(map(_mixed, _WORD.findall(text))):
        told.append("letters of more than one alphabet in a word")
    return ", ".join(told)


def _mixed(word: str) -> bool:
    if word.isascii():
        return False
    names = (unicodedata.name(letter, "").partition(" ")[0] for letter in word)
    return len({name for name in names if name in _ALPHABETS}) > 1


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{int.from_bytes(units[at : at + 2]):04x}" for at in range(0, len(units), 2))
