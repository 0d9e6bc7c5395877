"""Access tokens of an authorization server: client credentials and token exchange."""

import base64
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote_plus

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import SecretStr

from tunnel_client.credentials.inject import form, signing_key
from tunnel_client.credentials.settings import CredentialSettings
from tunnel_client.credentials.web import Endpoint
from tunnel_client.errors_upstreams import CredentialError
from tunnel_client.upstream.egress import Egress

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:"  # noqa: S105 - a name
ASSERTION_SECONDS = 60
DEFAULT_LIFETIME = 300.0
"""For a server that does not say how long its token lasts."""
MAX_LIFETIME = 86_400.0
MAX_TOKEN = 8192

Subject = Callable[[str], Awaitable[SecretStr]]
"""Returns the subject token of a user; raises ClientError."""


class TokenEndpoint:
    """Asks for access tokens as one configured client."""

    def __init__(self, settings: CredentialSettings) -> None:
        self._settings = settings
        self._endpoint = Endpoint(settings.ca_file, Egress.of(settings.addresses))

    async def for_client(self, secret: SecretStr) -> tuple[SecretStr, float]:
        """Return a token for the client itself and its seconds (RFC 6749 section 4.4)."""
        return await self._ask({"grant_type": "client_credentials"}, secret)

    async def for_user(self, secret: SecretStr, subject: SecretStr) -> tuple[SecretStr, float]:
        """Trade a user's subject token for one of the upstream (RFC 8693 section 2.1)."""
        asserted = self._settings.assertion_key is not None
        kind = _TOKEN_TYPE + ("jwt" if asserted else "access_token")
        exchanged: dict[str, str | SecretStr | None] = {
            "grant_type": EXCHANGE,
            "subject_token": subject,
            "subject_token_type": kind,
            "requested_token_type": _TOKEN_TYPE + "access_token",
        }
        return await self._ask(exchanged, secret)

    async def _ask(
        self, fields: dict[str, str | SecretStr | None], secret: SecretStr
    ) -> tuple[SecretStr, float]:
        settings = self._settings
        asked = fields | {
            "scope": settings.scope,
            "resource": settings.resource,
            "audience": settings.audience,
        }
        # RFC 6749 section 2.3.1: name and secret are form-encoded before they become Basic.
        pair = form({"id": settings.client_id or "", "secret": secret})
        login = (quote_plus(pair["id"]), quote_plus(pair["secret"]))
        answer = await self._endpoint.ask(
            "POST", settings.token_url or "", form=form(asked), login=login
        )
        return _token(answer)


def _token(answer: dict[str, Any]) -> tuple[SecretStr, float]:
    token, kind, lasts = (answer.get(key) for key in ("access_token", "token_type", "expires_in"))
    if not isinstance(token, str) or not 0 < len(token) <= MAX_TOKEN:
        raise CredentialError("it answers without a token")
    if not isinstance(kind, str) or kind.lower() not in ("bearer", "n_a"):
        raise CredentialError("it gives out tokens of a kind we do not know")
    if isinstance(lasts, bool) or not isinstance(lasts, int | float) or lasts <= 0:
        lasts = DEFAULT_LIFETIME
    return SecretStr(token), min(float(lasts), MAX_LIFETIME)


def assertion(settings: CredentialSettings, key: SecretStr, user: str) -> SecretStr:
    """Sign who the user is, for this token endpoint and a minute; raises CredentialError."""
    try:
        private = load_pem_private_key(signing_key(key).encode(), None)
    except (ValueError, TypeError):
        raise CredentialError("assertion_key is not a private key in PEM") from None
    if isinstance(private, ed25519.Ed25519PrivateKey):
        algorithm = "EdDSA"
    elif isinstance(private, ec.EllipticCurvePrivateKey) and private.key_size == 256:
        algorithm = "ES256"
    elif isinstance(private, rsa.RSAPrivateKey) and private.key_size >= 2048:
        algorithm = "RS256"
    else:
        raise CredentialError("assertion_key is none of Ed25519, P-256, RSA from 2048 bits")
    now = int(time.time())
    claims = {
        "iss": settings.assertion_issuer,
        "sub": user,
        "aud": settings.token_url,
        "iat": now,
        "exp": now + ASSERTION_SECONDS,
        "jti": base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("="),
    }
    named = {"kid": settings.assertion_key_id} if settings.assertion_key_id else None
    return SecretStr(jwt.encode(claims, private, algorithm=algorithm, headers=named))
