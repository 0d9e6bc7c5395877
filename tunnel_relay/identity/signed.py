"""Reads a signed JWT (RFC 7519, RFC 8725) and checks its signature. Pure.

What costs nothing is looked at first. A key is only ever one of the issuer's own key set: nothing
that a token says leads to an address, a file or a query.
"""

import binascii
import re
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from typing import Any

import jiter
from jwt import PyJWK
from jwt.api_jws import PyJWS
from jwt.exceptions import PyJWTError

from tunnel_relay.identity.key_sets import MAX_KID

MAX_TOKEN = 8 * 1024
_SHAPE = re.compile(r"(eyJ[\w-]{1,2048})\.(eyJ[\w-]{1,8000})\.([\w-]{40,2048})", re.ASCII)
_NEVER = ("crit", "jku", "x5u", "jwk", "x5c", "b64", "zip")
"""Header parameters that name a key of the token's own choice, or change how it is read."""
_VERIFIER = PyJWS()


class TokenError(Exception):
    """A token that is refused; the text is for the log and repeats nothing of the token.

    `lasting`: the same token will never be good.
    """

    def __init__(self, reason: str, *, lasting: bool = True) -> None:
        super().__init__(reason)
        self.lasting = lasting


@dataclass(frozen=True, slots=True)
class Unverified:
    """What a token says of itself; nothing of it is true yet."""

    token: str
    algorithm: str
    kid: str
    kind: str | None
    """`typ` in lower case, without `application/`."""
    claims: dict[str, Any]


def looks_signed(text: str) -> bool:
    """Tell whether a text has the shape of a signed JWT."""
    return len(text) <= MAX_TOKEN and _SHAPE.fullmatch(text) is not None


def read(token: str) -> Unverified:
    """Return what a token says; raises TokenError."""
    parts = _SHAPE.fullmatch(token) if len(token) <= MAX_TOKEN else None
    if parts is None:
        raise TokenError("it is not a signed JWT")
    header, claims = _object(parts[1]), _object(parts[2])
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ")
    if any(name in header for name in _NEVER):
        raise TokenError("its header wants what is never done")
    if not isinstance(algorithm, str) or not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID:
        raise TokenError("its header names no algorithm or no key")
    if kind is not None and not isinstance(kind, str):
        raise TokenError("its type is no text")
    said = None if kind is None else kind.lower().removeprefix("application/")
    return Unverified(token, algorithm, kid, said, claims)


def check_signature(unverified: Unverified, key: PyJWK) -> None:
    """Check the signature with a key that is for the token's algorithm; raises TokenError."""
    try:
        _VERIFIER.decode_complete(unverified.token, key, [key.algorithm_name])
    except PyJWTError:
        raise TokenError("its signature is wrong") from None


def _object(part: str) -> dict[str, Any]:
    try:
        raw = urlsafe_b64decode(part + "=" * (-len(part) % 4))
        # A second reader must not find another value under the same name.
        value = jiter.from_json(raw, catch_duplicate_keys=True, allow_inf_nan=False)
    except (binascii.Error, ValueError):
        value = None
    if not isinstance(value, dict):
        raise TokenError("it does not hold two JSON objects")
    return value
