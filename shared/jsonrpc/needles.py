"""Searches the bytes of messages, so that most of them need not be read."""

from collections.abc import Iterable

_UNICODE = b"\\u"
_LATIN = b"\\u00"
_LETTERS = (b"\\u004", b"\\u005", b"\\u006", b"\\u007")
"""One of them begins every escape of a letter from `A` to `z`."""
_LONG_S, _KELVIN = "\N{LATIN SMALL LETTER LONG S}".encode(), "\N{KELVIN SIGN}".encode()
"""Go takes them for `s` and `k`, and so do all who fold as Unicode says."""
_FOLDED = (b"\\u017f", b"\\u212a")
LONGEST_LETTER = 6
"""Bytes of a letter at most, and so of the longest thing that is sought beside names."""


def holds(needles: Iterable[bytes], data: bytes | bytearray) -> bool:
    """Tell whether any of the needles is in the data."""
    for needle in needles:  # noqa: SIM110 - any() costs more than the search
        if needle in data:
            return True
    return False


def holds_name(names: Iterable[bytes], data: bytes | bytearray) -> bool:
    """Tell whether any of the names may be in the data, as readers that ignore case see it.

    `names` are in lower case, with their quotes. A letter that is escaped or of another alphabet
    may be one of any name. Costs one copy, and fewer searches than there are spellings.
    """
    low = data.lower()
    if holds(names, low):
        return True
    # One byte is found, or not, in no time at all.
    if (_LONG_S[:1] in data and _LONG_S in data) or (_KELVIN[-1:] in data and _KELVIN in data):
        return True
    if _UNICODE not in low:
        return False
    return holds(_FOLDED, low) or (_LATIN in low and holds(_LETTERS, low))
