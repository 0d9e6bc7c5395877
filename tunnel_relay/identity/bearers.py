"""Access tokens of external issuers: JWTs (RFC 9068), judged by keys held in memory. Pure.

Cheap checks come first: a token that is not one of an issuer we know, or names a key we do not
hold, costs no signature.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from jwt.exceptions import PyJWTError

from tunnel_relay.settings import Issuer

MAX_TOKEN = 8192
_KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_TYPES = frozenset(("jwt", "at+jwt", "application/at+jwt"))
_FOREIGN_KEYS = frozenset(("jku", "jwk", "x5u", "x5c", "crit"))
"""What would let a token bring its own key, or demand what we do not know (RFC 8725 section 3)."""


class BearerError(Exception):
    """The token opens nothing; the text is for the log."""


class NoKeyError(BearerError):
    """The token names a key of its issuer that we do not hold, or none was fetched yet."""

    def __init__(self, issuer: str, *, fetched: bool) -> None:
        super().__init__("signed with a key that is not known")
        self.issuer = issuer
        self.fetched = fetched


@dataclass(frozen=True, slots=True)
class Claims:
    """What a good token says: who, with which agent, since when, until when."""

    issuer: str
    subject: str
    agent: str
    issued: float
    expires: float
    groups: tuple[str, ...] = ()
    name: str = ""

    @property
    def user(self) -> str:
        """The user's key: issuer and subject, never a name or an e-mail."""
        return f"{self.issuer}#{self.subject}"


@dataclass
class IssuerKeys:
    """One issuer's settings, and its keys by their identifier; None: never fetched."""

    settings: Issuer
    keys: dict[str, jwt.PyJWK] | None = field(default=None, repr=False)

    def replace(self, documents: Any) -> int:
        """Take a key set in place of the one before; returns how many keys can be used."""
        found: dict[str, jwt.PyJWK] = {}
        listed = documents.get("keys") if isinstance(documents, dict) else None
        for entry in listed if isinstance(listed, list) else ():
            if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
                continue
            kid = entry.get("kid")
            if not isinstance(kid, str) or entry.get("kty") not in _KEY_TYPES.values():
                continue
            try:
                found[kid] = jwt.PyJWK(entry)
            except PyJWTError:
                continue
        self.keys = found
        return len(found)


def looks_like_jwt(token: str) -> bool:
    """Tell whether a bearer token has the form of a signed JWT."""
    return len(token) <= MAX_TOKEN and token.count(".") == 2 and token.startswith("ey")


def judge(token: str, issuers: Mapping[str, IssuerKeys], resource: str, now: float) -> Claims:
    """Return what a token says at `now` (seconds since the epoch); raises BearerError."""
    try:
        header = jwt.get_unverified_header(token)
        said = jwt.decode_complete(token, options={"verify_signature": False})["payload"]
    except (PyJWTError, ValueError, RecursionError):
        raise BearerError("not a JWT") from None
    known = issuers.get(said.get("iss")) if isinstance(said.get("iss"), str) else None
    if known is None:
        raise BearerError("of an issuer that is not configured")
    key = _key(known, header)
    issuer = known.settings
    try:
        # Times are judged here, by our own clock; the library would ask the system's.
        claims = jwt.decode(
            token,
            key.key,
            algorithms=[header["alg"]],
            audience=issuer.audience or resource,
            issuer=issuer.url,
            options={
                "require": ["exp", "iss", "sub", "aud"],
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
    except (PyJWTError, ValueError, TypeError) as error:
        raise BearerError(type(error).__name__) from None
    return _read(claims, issuer, now)


def _key(known: IssuerKeys, header: Mapping[str, Any]) -> jwt.PyJWK:
    issuer, algorithm, kid = known.settings, header.get("alg"), header.get("kid")
    if _FOREIGN_KEYS & header.keys():
        raise BearerError("brings a key of its own, or demands an extension")
    if str(header.get("typ", "JWT")).lower() not in _TYPES:
        raise BearerError("of another type")
    if algorithm not in issuer.algorithms:
        raise BearerError("signed with an algorithm that is not allowed")
    if known.keys is None or not isinstance(kid, str) or kid not in known.keys:
        raise NoKeyError(issuer.url, fetched=known.keys is not None)
    key = known.keys[kid]
    if key.key_type != _KEY_TYPES[str(algorithm)[:2]]:
        raise BearerError("signed with an algorithm that is not the key's")
    return key


def _read(claims: Mapping[str, Any], issuer: Issuer, now: float) -> Claims:
    expires, issued = _time(claims, "exp"), _time(claims, "iat", 0.0)
    if now >= expires + issuer.leeway:
        raise BearerError("expired")
    if now < _time(claims, "nbf", 0.0) - issuer.leeway:
        raise BearerError("not valid yet")
    agent = claims.get(issuer.agent_claim) or claims.get("azp")
    subject, groups = claims.get("sub"), claims.get(issuer.groups_claim, [])
    name = claims.get("name", "")
    if not _is_text(subject) or not _is_text(agent):
        raise BearerError("names no subject or no agent")
    if not isinstance(groups, list) or not all(_is_text(group) for group in groups):
        groups = []
    return Claims(
        issuer.url,
        str(subject),
        str(agent),
        issued,
        expires,
        tuple(sorted(set(groups))),
        name if _is_text(name) else "",
    )


def _time(claims: Mapping[str, Any], name: str, default: float | None = None) -> float:
    value = claims.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        raise BearerError(f"{name} is no time")
    return float(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()
