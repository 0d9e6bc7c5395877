"""The sections on people and agents that somebody else vouches for. Pure."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator

from shared.configfile import ConfigModel, SecretRef
from shared.ids import is_name
from tunnel_relay.setting_types import AbsolutePath, is_loopback
from tunnel_relay.store.base import Role

MAX_ISSUERS = 16
MAX_RULES = 256
MAX_URL = 150
"""Characters of an issuer: with a subject it has to fit where a user's key is kept."""
ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""Signatures with a key pair. Never `none`, and nothing with a shared secret."""
_SCOPES = re.compile(r"[!#-\[\]-~]{1,100}( [!#-\[\]-~]{1,100}){0,9}")
DEFAULT_ALGORITHMS = ("RS256", "ES256", "EdDSA", "PS256")


def is_provider_url(text: str) -> bool:
    """Tell whether an issuer, or a document of one, may be there: https, or http on loopback."""
    if not text.isascii() or not text.isprintable() or set(text) & set(' "#<>?@\\^`{|}'):
        return False
    try:
        url = urlsplit(text)
        host, _ = url.hostname or "", url.port
    except ValueError:
        return False
    return bool(host) and (url.scheme == "https" or (url.scheme == "http" and is_loopback(host)))


def _provider(text: str) -> str:
    if not is_provider_url(text) or len(text) > MAX_URL:
        raise ValueError(
            f"write https://host/path as the issuer calls itself, at most {MAX_URL} characters; "
            "http:// is for loopback only"
        )
    return text


def _algorithm(text: str) -> str:
    if text not in ALGORITHMS:
        raise ValueError(f"write one of {', '.join(ALGORITHMS)}")
    return text


def _pattern(text: str) -> str:
    tunnel, _, upstream = text.partition("/")
    if text != "*" and not (is_name(tunnel) and (upstream == "*" or is_name(upstream))):
        raise ValueError("write TUNNEL/UPSTREAM, TUNNEL/* or *")
    return text


def _line(text: str) -> str:
    if not 0 < len(text) <= 200 or not text.isprintable() or text != text.strip():
        raise ValueError("write 1 to 200 printable characters on one line")
    return text


def _scopes(text: str) -> str:
    if not _SCOPES.fullmatch(text):
        raise ValueError("write scopes with one space between them")
    return text


Scopes = Annotated[str, AfterValidator(_scopes)]
ProviderUrl = Annotated[str, AfterValidator(_provider)]
Algorithm = Annotated[str, AfterValidator(_algorithm)]
Pattern = Annotated[str, AfterValidator(_pattern)]
Line = Annotated[str, AfterValidator(_line)]


class AllowRule(ConfigModel):
    """What members of one of the issuer's groups may, beside what everybody may."""

    group: Line
    servers: tuple[Pattern, ...] = ()
    """`TUNNEL/UPSTREAM`, `TUNNEL/*` or `*`."""
    roles: tuple[Role, ...] = ()
    """Of `auditor`, `approver`, `admin`; for the console and the admin API."""


class IssuerSettings(ConfigModel):
    """An authorization server of yours whose access tokens (JWT) agents may bring."""

    url: ProviderUrl
    """What its tokens have as `iss`, to the letter."""
    jwks_url: ProviderUrl | None = None
    """Where its keys are; left out: where its metadata says."""
    algorithms: tuple[Algorithm, ...] = Field(default=DEFAULT_ALGORITHMS, min_length=1)
    """Signatures that are accepted."""
    audience: Line | None = None
    """A value of `aud` that is as good as a server's own URL, for all servers at once."""
    agent_claim: Line | None = None
    """The claim that names the agent; left out: client_id, or else azp."""
    groups_claim: Line = "groups"
    """The claim that lists the user's groups."""
    scope: Scopes | None = None
    """Scopes a token must have, with spaces between them."""
    leeway: float = Field(default=0, ge=0, le=60)
    """How far its clock may be off."""
    ca_file: AbsolutePath | None = None
    """Authorities to trust for its TLS, in PEM; left out: the system's."""
    servers: tuple[Pattern, ...] = ()
    """What everybody it vouches for may use: `TUNNEL/UPSTREAM`, `TUNNEL/*` or `*`."""
    allow: list[AllowRule] = Field(default_factory=list, max_length=MAX_RULES)


class OidcSettings(ConfigModel):
    """An OpenID provider where users log in; agents still get this relay's own tokens."""

    issuer: ProviderUrl
    """What the provider calls itself, to the letter."""
    client_id: Line
    client_secret: SecretRef | None = None
    """Left out: the provider knows the relay as a public client."""
    scopes: tuple[Line, ...] = ("openid", "profile")
    """What is asked for; `openid` must be among it."""
    algorithms: tuple[Algorithm, ...] = Field(default=DEFAULT_ALGORITHMS, min_length=1)
    """Signatures of ID tokens that are accepted."""
    groups_claim: Line = "groups"
    """The claim of the ID token that lists the user's groups."""
    name: Line = "your organisation"
    """Stands on the button: Log in with ..."""
    leeway: float = Field(default=0, ge=0, le=60)
    """How far its clock may be off."""
    ca_file: AbsolutePath | None = None
    """Authorities to trust for its TLS, in PEM; left out: the system's."""
    servers: tuple[Pattern, ...] = ()
    """What everybody who logs in there may use: `TUNNEL/UPSTREAM`, `TUNNEL/*` or `*`."""
    allow: list[AllowRule] = Field(default_factory=list, max_length=MAX_RULES)

    @field_validator("scopes")
    @classmethod
    def _check_scopes(cls, scopes: tuple[str, ...]) -> tuple[str, ...]:
        if "openid" not in scopes:
            raise ValueError("openid must be among the scopes")
        return scopes
