"""What an issuer vouches for in a token, judged: a value or a TokenError. Pure; in seconds."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from hmac import compare_digest
from typing import Any

from tunnel_relay.identity.signed import TokenError
from tunnel_relay.settings_issuers import MAX_URL, IssuerSettings, OidcSettings

MAX_SUBJECT = 255 - MAX_URL - 1
MAX_TEXT = 200
MAX_CLAIMED_GROUPS = 1000
_LATEST = 1e11


@dataclass(frozen=True, slots=True)
class Person:
    """Whom an issuer vouches for, and what it said of them at `said`."""

    issuer: str
    subject: str
    name: str
    groups: frozenset[str]
    said: float
    logged_in: float | None = None
    """When the user last proved who they are; None: an ID token does not say."""

    @property
    def key(self) -> str:
        """The user's key."""
        return f"{self.issuer}#{self.subject}"


@dataclass(frozen=True, slots=True)
class Access:
    """A good access token: who, with which agent, until when."""

    person: Person
    agent: str
    ends: float
    logged_in: float | None
    """When the user last proved who they are; None: the issuer does not say."""
    scopes: frozenset[str]


def read_access(
    claims: Mapping[str, Any], rules: IssuerSettings, audiences: Collection[str], now: float
) -> Access:
    """Judge the claims of an access token (RFC 9068); raises TokenError."""
    if claims.get("iss") != rules.url:
        raise TokenError("it is of another issuer")
    if not set(_audiences(claims)) & set(audiences):
        raise TokenError("it is for another server")
    said, ends = _times(claims, rules.leeway, now)
    logged_in = _logged_in(claims, rules.leeway, now)
    if rules.agent_claim is not None:
        agent = _text(claims, rules.agent_claim)
    else:
        agent = _text(claims, "client_id" if "client_id" in claims else "azp")
    person = _person(claims, rules.url, rules.groups_claim, said)
    return Access(person, agent, ends, logged_in, _scopes(claims))


def read_login(claims: Mapping[str, Any], rules: OidcSettings, nonce: str, now: float) -> Person:
    """Judge the claims of an ID token (OpenID Connect Core 3.1.3.7); raises TokenError."""
    if claims.get("iss") != rules.issuer:
        raise TokenError("it is of another issuer")
    audiences = _audiences(claims)
    if rules.client_id not in audiences:
        raise TokenError("it is for another application")
    if (len(audiences) > 1 or "azp" in claims) and claims.get("azp") != rules.client_id:
        raise TokenError("it was made for another application")
    said_nonce = claims.get("nonce")
    if not isinstance(said_nonce, str) or not compare_digest(said_nonce.encode(), nonce.encode()):
        raise TokenError("it is not of this login")
    said, _ = _times(claims, rules.leeway, now)
    person = _person(claims, rules.issuer, rules.groups_claim, said)
    return replace(person, logged_in=_logged_in(claims, rules.leeway, now))


def _person(claims: Mapping[str, Any], issuer: str, groups_claim: str, said: float) -> Person:
    subject = _text(claims, "sub")
    if len(subject) > MAX_SUBJECT:
        raise TokenError("its subject is too long")
    name = claims.get("name")
    # For people to read, so what cannot be shown is left out.
    shown = isinstance(name, str) and 0 < len(name.strip()) <= MAX_TEXT and name.isprintable()
    return Person(
        issuer,
        subject,
        name.strip() if isinstance(name, str) and shown else subject,
        _groups(claims, groups_claim),
        said,
    )


def _audiences(claims: Mapping[str, Any]) -> list[str]:
    audiences = claims.get("aud")
    if isinstance(audiences, str):
        return [audiences]
    if not isinstance(audiences, list) or not all(isinstance(each, str) for each in audiences):
        raise TokenError("it names no audience")
    return audiences


def _times(claims: Mapping[str, Any], leeway: float, now: float) -> tuple[float, float]:
    """Return when it was made and when it ends."""
    made, ends = _time(claims, "iat"), _time(claims, "exp") + leeway
    if now >= ends:
        raise TokenError("it has expired")
    begins = max(made, _time(claims, "nbf") if "nbf" in claims else made)
    if begins > now + leeway:
        raise TokenError("it is not good yet", lasting=False)
    return made, ends


def _logged_in(claims: Mapping[str, Any], leeway: float, now: float) -> float | None:
    logged_in = _time(claims, "auth_time") if "auth_time" in claims else None
    if logged_in is not None and logged_in > now + leeway:
        raise TokenError("its login is in the future", lasting=False)
    return logged_in


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenError(f"its {name} is no time")
    if not math.isfinite(value) or not 0 <= value < _LATEST:
        raise TokenError(f"its {name} is no time")
    return float(value)


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    # White space around it would make two names that look alike.
    good = isinstance(value, str) and value.isprintable() and value == value.strip()
    if not isinstance(value, str) or not good or not 0 < len(value) <= MAX_TEXT:
        raise TokenError(f"its {name[:40]} is missing or no plain text")
    return value


def _groups(claims: Mapping[str, Any], name: str) -> frozenset[str]:
    value = claims.get(name, [])
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or len(value) > MAX_CLAIMED_GROUPS:
        raise TokenError(f"its {name[:40]} is no list of groups")
    return frozenset(
        each
        for each in value
        if isinstance(each, str) and 0 < len(each) <= MAX_TEXT and each.isprintable()
    )


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    value = claims.get("scope", claims.get("scp", ""))
    if isinstance(value, list):
        return frozenset(each for each in value if isinstance(each, str))
    return frozenset(value.split()) if isinstance(value, str) else frozenset()
