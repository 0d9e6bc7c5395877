"""Makes of a secret what an upstream is shown: the one place that opens secrets for upstreams.

Pure: values in, values out. What it returns holds secrets in the clear and never leaves the
client's memory but towards the upstream, or the server that gives out its tokens.
"""

import base64
from collections.abc import Iterable, Mapping

from pydantic import SecretStr

from tunnel_client.credentials.scrub import Scrubber, weakness
from tunnel_client.credentials.settings import CredentialSettings
from tunnel_client.upstream.base import Headers


class UnusableSecretError(ValueError):
    """A secret cannot be sent or looked for; the message says why and never holds it."""


def headers_for(credential: CredentialSettings, secret: SecretStr) -> Headers:
    """Return the header fields that show `secret` to the upstream; raises UnusableSecretError."""
    value = secret.get_secret_value()
    if not value.isprintable() or value != value.strip():
        raise UnusableSecretError("it holds spaces around it or control characters")
    if credential.kind == "basic":
        pair = base64.b64encode(f"{credential.user}:{value}".encode())
        return [(b"authorization", b"Basic " + pair)]
    if not value.isascii():
        raise UnusableSecretError("it is not ASCII, as a header's value has to be")
    if credential.kind in ("header", "api_key"):
        return [((credential.name or "").encode(), value.encode())]
    if " " in value:
        raise UnusableSecretError("a token holds no space")
    return [(b"authorization", b"Bearer " + value.encode())]


def check_strength(secret: SecretStr) -> None:
    """Refuse a secret that cannot be looked for in answers; raises UnusableSecretError."""
    why = weakness(secret.get_secret_value())
    if why is not None:
        raise UnusableSecretError(why)


def scrubber_for(secrets: Iterable[SecretStr]) -> Scrubber:
    """Return what finds these secrets in answers; takes milliseconds, for long ones a fraction of
    a second."""
    return Scrubber(dict.fromkeys(secret.get_secret_value() for secret in secrets))


def same(one: SecretStr, other: SecretStr) -> bool:
    """Tell whether two secrets are equal."""
    return one.get_secret_value() == other.get_secret_value()


def environment(variables: Mapping[str, SecretStr]) -> dict[str, str]:
    """Return a child's own variables in the clear."""
    return {name: value.get_secret_value() for name, value in variables.items()}


def hidden_in_logs(variables: Mapping[str, SecretStr]) -> list[str]:
    """Return the values that must not show in a log; short ones would blot out plain words."""
    values = (value.get_secret_value() for value in variables.values())
    return sorted((value for value in values if len(value) >= 6), key=len, reverse=True)


def form(fields: Mapping[str, str | SecretStr | None]) -> dict[str, str]:
    """Return the fields of a request to a token endpoint or a vault; None leaves one out."""
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in fields.items()
        if value is not None
    }


def signing_key(secret: SecretStr) -> str:
    """Return the PEM of the key that signs assertions."""
    return secret.get_secret_value()
