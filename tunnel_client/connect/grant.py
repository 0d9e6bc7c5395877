"""What a login gave: the tokens, and what it takes to renew them."""

from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from pydantic import SecretStr

from tunnel_client.errors_connect import LoginMetadataError

MAX_TOKEN = 16 * 1024
_MAX_SECONDS = 10 * 365 * 86400


@dataclass(frozen=True, slots=True)
class Grant:
    """Tokens for one server; `expires` is Unix time, None when nobody said."""

    server: str
    issuer: str
    client_id: str
    token_endpoint: str
    revocation_endpoint: str | None
    access: SecretStr
    refresh: SecretStr | None = None
    expires: float | None = None

    def is_due(self, now: float, margin: float) -> bool:
        """Tell whether the access token ends within `margin` seconds."""
        return self.expires is not None and now >= self.expires - margin

    def renewed(self, answer: dict[str, Any], now: float) -> "Grant":
        """Return the grant with the tokens of a token endpoint's answer; raises as `tokens`."""
        access, refresh, expires = tokens(answer, now)
        return replace(self, access=access, refresh=refresh or self.refresh, expires=expires)


def tokens(answer: dict[str, Any], now: float) -> tuple[SecretStr, SecretStr | None, float | None]:
    """Read access token, refresh token and end of a token endpoint's answer (RFC 6749 5.1).

    Raises LoginMetadataError.
    """
    kind = answer.get("token_type")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise LoginMetadataError("the authorization server gave no bearer token")
    access, refresh = answer.get("access_token"), answer.get("refresh_token")
    if not is_token_text(access) or not (refresh is None or is_token_text(refresh)):
        raise LoginMetadataError("the authorization server gave a token that is none")
    seconds = answer.get("expires_in")
    expires = None
    if isinstance(seconds, int | float) and 0 <= seconds <= _MAX_SECONDS:
        expires = now + seconds
    return SecretStr(access), None if refresh is None else SecretStr(refresh), expires


def is_token_text(text: object) -> TypeGuard[str]:
    """Tell whether this may stand in a header as a token: visible ASCII, 16 KiB at most."""
    if not isinstance(text, str) or not 0 < len(text) <= MAX_TOKEN:
        return False
    return all("!" <= each <= "~" for each in text)
