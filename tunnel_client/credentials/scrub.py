"""Takes secrets out of bytes on their way to an agent; no I/O.

A secret is looked for in the spellings that programs give to text without meaning harm: as it is,
in another case, percent-encoded, JSON-escaped (each character by itself, so any mixture), as HTML
writes what means something there, with other line ends or none, as hex, and as base64 in its three
alignments, in one line or more. What an upstream splits or encrypts is out of reach.
"""

import base64
import math
import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from tunnel_client.credentials.sieve import Sieve

MASK = b"[REDACTED:cred]"
MIN_LENGTH = 16
"""Shorter secrets occur by chance, and agents could find them by guessing what gets masked."""
MIN_DISTINCT = 8
MIN_BITS = 40.0
_MAX_STEPS = 3
_BACKSLASHES = 7
"""Extra backslashes before an escape: JSON within JSON within JSON."""
_LINE_END = rb"(?:(?:\r|\\{1,4}r)?(?:\n|\\{1,4}n))?"
"""Where base64 goes on in another line; in JSON, and JSON within JSON, as an escape."""
_LINE_END_MOST = 10
_BLANKS = "\n\r\t "
_MORE_BLANKS = 16
"""How many more than in the secret may stand where a line ends: indented text has some."""
_ESCAPES = {"\n": b"\\n", "\r": b"\\r", "\t": b"\\t", "\b": b"\\b", "\f": b"\\f"}
_ENTITIES = {
    "&": (b"&amp;", b"&#38;", b"&#x26;"),
    "<": (b"&lt;", b"&#60;", b"&#x3c;", b"&#x3C;"),
    ">": (b"&gt;", b"&#62;", b"&#x3e;", b"&#x3E;"),
    '"': (b"&quot;", b"&#34;", b"&#x22;"),
    "'": (b"&#39;", b"&#x27;", b"&apos;"),
    "/": (b"&#47;", b"&#x2f;", b"&#x2F;"),
    "+": (b"&#43;", b"&#x2b;", b"&#x2B;"),
    "=": (b"&#61;", b"&#x3d;", b"&#x3D;"),
    "`": (b"&#96;", b"&#x60;"),
    "\t": (b"&#9;", b"&#x9;"),
    "\n": (b"&#10;", b"&#xa;", b"&#xA;"),
    "\r": (b"&#13;", b"&#xd;", b"&#xD;"),
}
"""What template engines and XML write for a character that means something to them."""
_EVENT_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")


def weakness(secret: str) -> str | None:
    """Say why a secret cannot be looked for in answers, or None; the text never holds it."""
    if len(secret) < MIN_LENGTH:
        return f"it has fewer than {MIN_LENGTH} characters"
    counts = Counter(secret)
    bits = -sum(count * math.log2(count / len(secret)) for count in counts.values())
    steps = {ord(after) - ord(before) for before, after in pairwise(secret)}
    if len(counts) < MIN_DISTINCT or bits < MIN_BITS or len(steps) <= _MAX_STEPS:
        return "it is too regular to be a random secret"
    return None


class Scrubber:
    """Finds some secrets in any of their spellings; made once for each value of a credential."""

    __slots__ = ("_digits", "_searches", "_sieve", "longest")

    def __init__(self, secrets: Iterable[str]) -> None:
        # What prints a secret may leave out the blanks around it, as with a file's last line end.
        secrets = [each for each in (secret.strip() for secret in secrets) if each]
        spellings = [each for secret in secrets for each in _spellings(secret) if each.pieces]
        self._digits = tuple(secret.encode().hex().encode() for secret in secrets)
        # One search for each way to begin: a literal beginning is what the regex engine skips to
        # at gigabytes a second, and one pattern of all alternatives would have none.
        beginnings: dict[bytes, None] = {}
        for spelling in spellings:
            first, *rest = spelling.pieces
            after = _in_a_row(rest, spelling.between)
            beginnings |= {_beginning(way) + after: None for way in first.ways}
        self._searches = tuple(re.compile(each).finditer for each in beginnings)
        self.longest = max((each.longest for each in spellings), default=0)
        """Most bytes that one spelling can take; hex is always shorter than percent signs."""
        sieves = [
            Sieve.of(secret, [_base64_core(secret, shift) for shift in range(3)])
            for secret in secrets
        ]
        good = [each for each in sieves if each is not None]
        self._sieve = Sieve.union(good) if len(good) == len(sieves) else None

    def __repr__(self) -> str:
        return "Scrubber()"

    def places(self, data: bytes) -> list[tuple[int, int]]:
        """Return where secrets are, in order and without overlaps."""
        if self._sieve is not None and not self._sieve.may_hold(data):
            return []
        found = [match.span() for search in self._searches for match in search(data)]
        lower = data.lower()
        for digits in self._digits:
            at = lower.find(digits)
            while at >= 0:
                found.append((at, at + len(digits)))
                at = lower.find(digits, at + 1)
        return _merged([(_escape_start(data, start), end) for start, end in found])

    def clean(self, data: bytes) -> bytes:
        """Return a whole text without the secrets."""
        return _masked(data, self.places(data))


class Stream:
    """One body on its way; `feed` each piece. `hits` counts what was taken out.

    Never holds back more than the longest spelling less one byte, and nothing at an event's end.
    """

    __slots__ = ("_first", "_held", "_scrubber", "hits")

    def __init__(self, scrubber: Scrubber) -> None:
        self._first = self._scrubber = scrubber
        self._held = b""
        self.hits = 0

    def feed(self, piece: bytes, end: bool, scrubber: Scrubber | None = None) -> bytes:
        """Return what may go on now; `scrubber` is of the secrets as they are by now.

        Those that were there at first are sought to the end: it is them that the upstream saw.
        """
        if scrubber is not None:
            self._scrubber = scrubber
        data = self._held + piece if self._held else piece
        places, longest = self._scrubber.places(data), self._scrubber.longest
        if self._scrubber is not self._first:
            places = _merged(places + self._first.places(data))
            longest = max(longest, self._first.longest)
        self.hits += len(places)
        if end or data.endswith(_EVENT_ENDS):
            self._held = b""
            return _masked(data, places) if places else data
        cut = max(0, len(data) - longest + 1)
        if places:
            cut = max(cut, places[-1][1])
        self._held = data[cut:]
        return _masked(data[:cut], places) if places else data[:cut]


def _escape_start(data: bytes, start: int) -> int:
    """Half an escape left behind would make the rest of a JSON document unreadable."""
    for _ in range(_BACKSLASHES):
        if start and data[start - 1] == 0x5C:
            start -= 1
    return start


def _merged(found: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _masked(data: bytes, places: list[tuple[int, int]]) -> bytes:
    parts, at = [], 0
    for start, end in places:
        parts += [data[at:start], MASK]
        at = end
    parts.append(data[at:])
    return b"".join(parts)


class _Piece(NamedTuple):
    """A part of a secret, most often one character."""

    ways: list[bytes]
    """The byte strings that may stand for it."""
    most: int = 1
    """How many of them; where it is more than one, there may be none as well."""

    @property
    def pattern(self) -> bytes:
        """What finds it."""
        times = b"{0,%d}" % self.most if self.most > 1 else b""
        return _any_of(self.ways) + times

    @property
    def longest(self) -> int:
        """Most bytes that it can take."""
        return self.most * max(map(_most, self.ways))


def _in_a_row(pieces: list[_Piece], between: bytes) -> bytes:
    """Return what finds these pieces after each other.

    A run of backslashes and the escape behind it can share their backslashes in many ways: an
    atomic group takes the first that fits, long escapes first. With all of them tried, for each
    such pair, a text that is a secret but for its end would keep the search busy for ever.
    """
    found: list[bytes] = []
    run = False
    for piece in pieces:
        if run:
            ways = [_pattern(way) for way in sorted(piece.ways, key=len, reverse=True)]
            if piece.most > 1:
                ways = [_any_of(piece.ways) + b"{1,%d}" % piece.most, b""]
            found[-1] = b"(?>" + b"|".join(found[-1] + way for way in ways) + b")"
        else:
            found.append(between + piece.pattern)
        run = not run and piece.ways[0].strip(b"\\") == b""
    return b"".join(found)


class _Spelling(NamedTuple):
    """One way to write a secret, piece by piece."""

    pieces: list[_Piece]
    between: bytes = b""
    """A pattern of what may stand between two of them ..."""
    between_most: int = 0
    """... and how long that can be."""

    @property
    def longest(self) -> int:
        """Most bytes that it can take."""
        return (
            sum(piece.longest for piece in self.pieces)
            + self.between_most * len(self.pieces)
            + _BACKSLASHES
        )


def _spellings(secret: str) -> list[_Spelling]:
    # A run of backslashes is one piece: each by itself, there would be no end of ways to read it.
    # So are a line end and the blanks behind it.
    found = [_Spelling([_piece(part) for part in re.findall(r"\\+|[\r\n]\s*|[^\\]", secret)])]
    for shift in range(3):
        core = [_Piece(_written_base64(character)) for character in _base64_core(secret, shift)]
        found.append(_Spelling(core, _LINE_END, _LINE_END_MOST))
    return found


def _base64_core(secret: str, shift: int) -> str:
    """Return the whole groups only: what stands around it decides the characters at the rim."""
    raw = secret.encode()
    encoded = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
    return encoded[math.ceil(shift * 8 / 6) : (shift + len(raw)) * 8 // 6]


def _piece(part: str) -> _Piece:
    """Return what stands for a character, a run of backslashes, or a line end with its blanks.

    Line ends are what programs change, join or indent: any blanks will do there, and none.
    """
    if part[0] not in "\r\n":
        return _Piece(_written(part))
    ways = [way for each in dict.fromkeys(part + _BLANKS) for way in _written(each)]
    # A plus is a blank in forms only; base64 may go on with one in the next line.
    return _Piece([way for way in ways if way != b"+" or " " in part], len(part) + _MORE_BLANKS)


def _written(piece: str) -> list[bytes]:
    """Return how one character of a secret, or one run of backslashes, may be written."""
    ways: list[bytes] = []
    for each in dict.fromkeys((piece, piece.lower(), piece.upper())):
        if len(each) != len(piece):
            continue  # upper case of some letters is two
        plain = each.encode()
        percent = b"".join(b"%%%02x" % byte for byte in plain)
        units = zip(*[iter(each.encode("utf-16-be"))] * 2, strict=True)
        numbers = [b"%02x%02x" % unit for unit in units]
        ways += [plain, percent, percent.upper()]
        ways += [b"\\u" + b"\\u".join(each) for each in (numbers, [n.upper() for n in numbers])]
        if each == " ":
            ways.append(b"+")
        if each in '/"':
            ways.append(b"\\" + plain)
        if each in _ESCAPES:
            ways.append(_ESCAPES[each])
    for entity in _ENTITIES.get(piece, ()):
        ways += [entity, b"\\u0026" + entity[1:]]
    return list(dict.fromkeys(ways))


def _written_base64(character: str) -> list[bytes]:
    """Return how a character of base64 may be written: url-safe, and escaped where one would."""
    twin = {"+": "-", "/": "_"}.get(character)
    return [character.encode()] if twin is None else [*_written(character), twin.encode()]


def _most(way: bytes) -> int:
    """Return how many bytes one way can take, with all its backslashes."""
    if way.strip(b"\\") == b"":
        return len(way) * (1 + _BACKSLASHES)
    return len(way) + _BACKSLASHES * way.count(b"\\")


def _beginning(way: bytes) -> bytes:
    """Return a pattern with a literal start; what backslashes stand before is seen to later."""
    return re.escape(way[:1]) + _rest(way[1:]) if way.strip(b"\\") else _pattern(way)


def _any_of(ways: list[bytes]) -> bytes:
    if len(ways) == 1:
        return re.escape(ways[0])
    return b"(?:" + b"|".join(map(_pattern, ways)) + b")"


def _pattern(way: bytes) -> bytes:
    text = way.lstrip(b"\\")
    slashes = len(way) - len(text)
    if not slashes:
        return re.escape(way)
    # In JSON within JSON an escape has more than one backslash, and a backslash is two or more.
    most = slashes + _BACKSLASHES if text else slashes * (1 + _BACKSLASHES)
    return rb"\\{%d,%d}" % (slashes, most) + _rest(text)


def _rest(text: bytes) -> bytes:
    """Return a pattern where each escape but the first is seen to, too."""
    more = rb"\\{1,%d}u" % (1 + _BACKSLASHES)
    return more.join(map(re.escape, text.split(b"\\u")))
