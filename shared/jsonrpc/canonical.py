"""One spelling for a JSON value, so that one meaning has one digest.

After RFC 8785 (JCS), but for numbers: those of JCS are doubles, and two large integers that differ
would then have one digest. Here a number is its exact decimal value, so 100, 1e2 and 100.0 are one
and 2^70 and 2^70 + 1 are two. Read bytes with `exact` first, which keeps every digit.
"""

import hashlib
import json
import secrets
from decimal import Decimal
from math import isfinite
from typing import Any

import jiter

_PLAIN_DIGITS = 40
"""Integers up to so many digits are written out; longer ones as digits and exponent."""
_TOO_LONG = 10**_PLAIN_DIGITS
_MARK = secrets.token_urlsafe(12)
"""Stands around a decimal until the text is whole; random, so that nobody's text looks so."""


def exact(body: bytes) -> Any:
    """Read JSON with every number as it was written; raises ValueError.

    For bodies that `envelope.parse` accepted: depth and duplicates were judged there.
    """
    return jiter.from_json(
        body,
        allow_inf_nan=False,
        cache_mode="keys",
        catch_duplicate_keys=True,
        float_mode="decimal",
    )


def written(value: Any) -> bytes:
    """Write what `exact` read, with every number as it was; raises ValueError.

    What is beyond a double is not written: some readers take it for infinite, and some for a fault.
    """
    text = _WRITER.encode(value)
    if _MARK in text:  # the encoder of C knows no decimals
        text = text.replace(f'"{_MARK}', "").replace(f'{_MARK}"', "")
    return text.encode()


def canonical(value: Any) -> bytes:
    """Return the one spelling of a JSON value; raises ValueError for what is not JSON.

    UTF-8; members in the order of their UTF-16 code units (RFC 8785 section 3.2.3); no spaces.
    """
    return _text(value).encode()


def digest(value: Any) -> str:
    """Return the SHA-256 of the canonical spelling: 64 hex digits."""
    return hashlib.sha256(canonical(value)).hexdigest()


def _text(value: Any) -> str:
    if value is None or value is True or value is False:
        return json.dumps(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, (int, float, Decimal)):
        return _number(value)
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_text, value)) + "]"
    if isinstance(value, dict):
        names = sorted(value, key=_utf16)
        return "{" + ",".join(f"{_string(name)}:{_text(value[name])}" for name in names) + "}"
    raise ValueError("not a JSON value")


def _utf16(name: str) -> bytes:
    return name.encode("utf-16-be")


def _string(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("a lone surrogate has no spelling") from None
    return json.dumps(text, ensure_ascii=False)


def _number(value: int | float | Decimal) -> str:
    if isinstance(value, int) and -_TOO_LONG < value < _TOO_LONG:
        return str(value)  # the same, sooner: most numbers are like this
    sign, digits, exponent = Decimal(value if isinstance(value, int) else str(value)).as_tuple()
    if not isinstance(exponent, int):
        raise ValueError("not a finite number")
    text = "".join(map(str, digits)).lstrip("0")
    stripped = text.rstrip("0")
    if not stripped:
        return "0"
    exponent += len(text) - len(stripped)
    minus = "-" if sign else ""
    if exponent >= 0 and len(stripped) + exponent <= _PLAIN_DIGITS:
        return minus + stripped + "0" * exponent
    return f"{minus}{stripped}e{exponent}"


def _marked(value: object) -> str:
    if not isinstance(value, Decimal):
        raise TypeError
    if not isfinite(value):  # as a double
        raise ValueError("a number is out of range")
    return _MARK + str(value) + _MARK


_WRITER = json.JSONEncoder(
    allow_nan=False, check_circular=False, separators=(",", ":"), default=_marked
)
