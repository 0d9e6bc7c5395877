"""Tells in a few passes over a text that no spelling of a secret can be in it; pure.

Each pass is one call into C that takes a fraction of a nanosecond a byte, whatever the text: all
escapes are undone at once, and what remains of every spelling is one of a few literals. It errs to
one side only: `scrub` looks closely where it says that there may be something.
"""

import re
from binascii import a2b_qp
from collections.abc import Iterable, Sequence

_SWALLOWED = 8
"""Characters of a secret that what stands before it can take along: `%4` makes an escape of its
first, and `\\` before `u005cn` one of six."""
_LEAST = 8
"""Characters that make a literal worth looking for."""
_LOOKED_AT = 48
"""Characters of base64 that are enough where lines may end within them."""
_ORDINARY = re.compile(r"[!#$()*,.:;?@\[\]^_{|}~A-Za-z0-9-]+")
"""What no program writes in another way than by an escape, a percent sign or the other case."""
_LINE_END = re.compile(r"[\r\n]\s*")
_ESCAPED = b"\\u00"

# Quoted-printable is what the standard library decodes fastest, so escapes become that. An equals
# sign before the end of a line would swallow the line.
_MARKED = bytes.maketrans(b"%=\r\n", b"=\1  ")
_FOLDED = bytes(range(256)).lower()
_STANDARD = bytes.maketrans(b"-_", b"+/")
_SIGNS = [
    (b"&#%b;" % number, sign)
    for sign, numbers in ((b"+", (b"43", b"x2b", b"x2B")), (b"/", (b"47", b"x2f", b"x2F")))
    for number in numbers
]
"""What template engines write for the signs of base64; each a pass, so only where there is one."""
_SIGN = re.compile(b"|".join(entity for entity, _ in _SIGNS))
_BLANKS = b"\\ \t\r\n"


class Sieve:
    """Looks for what is left of each spelling; see `of`."""

    __slots__ = ("_encoded", "_parts", "_plain")

    def __init__(self, plain: Iterable[bytes], encoded: Iterable[bytes]) -> None:
        self._plain = tuple(dict.fromkeys(plain))
        self._encoded = tuple(dict.fromkeys(encoded))
        self._parts = tuple(part for each in self._encoded for part in _parts(each))

    @classmethod
    def of(cls, secret: str, base64s: Sequence[str]) -> "Sieve | None":
        """Return the one for a secret and its cores in base64; None when too little is left."""
        ordinary = _ordinary(secret)
        rest = [each[_SWALLOWED:].encode() for each in base64s]
        digits = secret.encode().hex()[_SWALLOWED:].encode()
        if any(len(each) < _LEAST for each in (ordinary, digits, *rest)):
            return None
        return cls([ordinary, digits], rest)

    @classmethod
    def union(cls, sieves: Sequence["Sieve"]) -> "Sieve":
        """Return one that looks for what any of them looks for."""
        return cls(
            [each for sieve in sieves for each in sieve._plain],
            [each for sieve in sieves for each in sieve._encoded],
        )

    def may_hold(self, data: bytes) -> bool:
        """Return False when no spelling of a secret is in a text."""
        if b"%" in data or (b"\\" in data and _ESCAPED in data):
            data = a2b_qp(data.translate(_MARKED).replace(_ESCAPED, b"="))
        if any(map(data.translate(_FOLDED, b"\\").__contains__, self._plain)):
            return True
        # Of a line's end that is an escape a letter stays, where one of the parts ends or in it.
        cores = self._parts if b"\\" in data else self._encoded
        data = data.translate(_STANDARD, _BLANKS)
        # Most texts have no such sign; the first question is the cheapest by far.
        if b"&" in data and _SIGN.search(data):
            for entity, sign in _SIGNS:
                data = data.replace(entity, sign)
        return any(map(data.__contains__, cores))


def _parts(core: bytes) -> list[bytes]:
    """Cut a core so that one part is whole in lines of 24 characters and more."""
    core = core[:_LOOKED_AT]
    count = 3 if len(core) >= 3 * _LEAST else 2
    size = len(core) // count
    return [core[at * size : (at + 1) * size] for at in range(count)]


def _ordinary(secret: str) -> bytes:
    """Return the longest part that is the same in all spellings, once escapes are undone."""
    found = ""
    # Where lines are joined, what ends one reaches into the next as well.
    for line in _LINE_END.split(secret):
        for run in _ORDINARY.finditer(line):
            text = run.group()
            # Only a percent sign or backslash of the secret itself reaches into what follows it.
            if run.start() == 0 or line[run.start() - 1] in "%\\":
                text = text[_SWALLOWED:]
            found = max(found, text, key=len)
    return found.lower().encode()
