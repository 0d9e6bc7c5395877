"""How arguments and definitions are shown to whoever approves: all of it, and nothing hidden. Pure.

A character that shows nothing, or that changes how others show, is written as its JSON escape. So
what is shown is still JSON of the same meaning, and a text cannot imitate it: its own backslashes
are doubled.
"""

import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from shared.jsonrpc.canonical import canonical, exact

LONG = 60
"""Characters of a text from which on its length is told."""
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"))
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters and marks that show nothing, whatever Unicode calls them."""
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


def pieces(text: str) -> tuple[Piece, ...]:
    """Return a text with what cannot be seen written as escapes."""
    found: list[Piece] = []
    for character in text:
        hidden = is_hidden(character)
        shown = _escape(character) if hidden else character
        if found and found[-1].hidden is hidden:
            found[-1] = Piece(found[-1].text + shown, hidden)
        else:
            found.append(Piece(shown, hidden))
    return tuple(found)


def visible(text: str) -> str:
    """Return a text in one line in which nothing is hidden."""
    return "".join(piece.text for piece in pieces(text))


def lines(text: str) -> list[Line]:
    """Return JSON text laid out, a line for each value; of what is no JSON the text itself."""
    try:
        value = exact(text.encode())
    except ValueError:
        return [Line(0, pieces(text), "not JSON")]
    return list(_lines(value, 0, "", ""))


def facts(text: str) -> dict[str, int]:
    """Return how much there is to read: bytes, values, characters that cannot be seen."""
    laid_out = lines(text)
    return {
        "bytes": len(text.encode()),
        "lines": len(laid_out),
        "hidden": sum(map(is_hidden, text)),
    }


def _lines(value: Any, depth: int, before: str, after: str) -> Iterator[Line]:
    if isinstance(value, dict) and value:
        yield Line(depth, pieces(before + "{"), _count(len(value), "member"))
        inner: Any = [(f"{_json(name)}: ", each) for name, each in value.items()]
        yield from _members(inner, depth)
        yield Line(depth, (Piece("}" + after, False),))
    elif isinstance(value, list) and value:
        yield Line(depth, pieces(before + "["), _count(len(value), "item"))
        yield from _members([("", each) for each in value], depth)
        yield Line(depth, (Piece("]" + after, False),))
    else:
        note = _note(value) if isinstance(value, str) else ""
        yield Line(depth, pieces(before + _json(value) + after), note)


def _members(members: list[tuple[str, Any]], depth: int) -> Iterator[Line]:
    last = len(members) - 1
    for number, (before, each) in enumerate(members):
        yield from _lines(each, depth + 1, before, "" if number == last else ",")


def _json(value: str | int | Decimal | bool | dict[str, Any] | list[Any] | None) -> str:
    return canonical(value).decode()


def _note(text: str) -> str:
    told = []
    hidden = sum(map(is_hidden, text))
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
