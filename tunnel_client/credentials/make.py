"""Makes an upstream's credential of its configuration; what is at hand is read and checked here."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from shared import ours
from shared.configfile import SecretRef
from tunnel_client.credentials.guarded import Credential, GuardedUpstream
from tunnel_client.credentials.hits import Hits
from tunnel_client.credentials.inject import (
    UnusableSecretError,
    check_strength,
    environment,
    scrubber_for,
)
from tunnel_client.credentials.keeper import Fetched, Keeper, Keepers
from tunnel_client.credentials.settings import CredentialSettings, Place, VaultSettings
from tunnel_client.credentials.sources import Sources, read_reference
from tunnel_client.errors import SettingsError
from tunnel_client.errors_upstreams import CredentialOriginError, UnusableCredentialError
from tunnel_client.files import read_guarded
from tunnel_client.upstream.base import Upstream
from tunnel_client.upstream.http_target import BadTargetError, origin_of

if TYPE_CHECKING:
    from tunnel_client.credentials.tokens import TokenEndpoint
    from tunnel_client.credentials.vault import Vault

_REFERENCES = ("env", "file", "credential")


def check_origin(name: str, url: str, credential: CredentialSettings) -> None:
    """Refuse a url that leads elsewhere than the credential is for; raises CredentialOriginError.

    Whoever changes the url of an upstream must not take its credential along by that.
    """
    leads = origin_of(url)
    try:
        entered = origin_of(credential.origin)
    except BadTargetError as error:
        raise SettingsError(f"upstream {name}: credential.origin: {error}") from None
    if leads != entered:
        raise CredentialOriginError(
            f"upstream {name}: its credential is for {entered}, its url leads to {leads}"
        )


def make_credential(
    name: str,
    credential: CredentialSettings,
    vault: VaultSettings | None,
    environ: Mapping[str, str],
) -> Credential:
    """Return what an HTTP upstream is shown; raises ClientError for what can be seen now."""
    store = _vault(name, credential, vault, environ)
    sources = Sources(environ, store)
    endpoint = _token_endpoint(credential)
    if credential.client_secret is not None:
        sources.now(credential.client_secret)
    if credential.assertion_key is not None:
        _private(credential, environ)
    fetching = _Fetching(credential, sources, endpoint)

    def keeper(user: str | None) -> Keeper:
        return Keeper(name, credential, fetching.of(user), time.monotonic)

    keepers = Keepers(credential.per_user, keeper)
    if not credential.per_user and endpoint is None and credential.value is not None:
        secret = sources.now(credential.value)
        shared = keepers.find(None)
        if secret is not None and shared is not None:
            try:
                shared.preset(secret)
            except UnusableSecretError as error:
                raise _unusable(name, credential.value, error) from None
    return Credential(keepers, store, credential.lists_as)


def guard(name: str, inner: Upstream, settings: CredentialSettings, made: Credential) -> Upstream:
    """Wrap an upstream that is shown a credential."""
    about = {"upstream": name, "kind": settings.kind, "scrub": settings.scrub}
    return GuardedUpstream(inner, Hits(name, time.monotonic), about, made)


def secret_variables(
    name: str, env: Mapping[str, SecretStr], scrub: bool, environ: Mapping[str, str]
) -> tuple[dict[str, SecretStr], list[SecretStr]]:
    """Return a child's variables with references followed, and which of them are secrets.

    Raises SecretError, UnsafeFileError and UnusableCredentialError.
    """
    values, secrets = dict(env), []
    for variable, reference in references(env).items():
        secret = values[variable] = read_reference(reference, environ)
        if scrub:
            try:
                check_strength(secret)
            except UnusableSecretError as error:
                raise _unusable(name, f"env.{variable}", error) from None
        secrets.append(secret)
    return values, secrets


def guard_child(name: str, inner: Upstream, secrets: list[SecretStr], scrub: bool) -> Upstream:
    """Wrap an upstream that was started with secrets."""
    about = {"upstream": name, "kind": "environment", "scrub": scrub}
    scrubber = scrubber_for(secrets) if scrub else None
    return GuardedUpstream(inner, Hits(name, time.monotonic), about, scrubber=scrubber)


def references(env: Mapping[str, SecretStr]) -> dict[str, SecretRef]:
    """Return the variables whose values say where a secret is."""
    return {
        name: SecretRef.parse(text)
        for name, text in environment(env).items()
        if text.partition(":")[0] in _REFERENCES and text.partition(":")[2]
    }


class _Fetching:
    """How the values of one credential are fetched."""

    def __init__(
        self, settings: CredentialSettings, sources: Sources, endpoint: "TokenEndpoint | None"
    ) -> None:
        self._settings = settings
        self._sources = sources
        self._endpoint = endpoint

    def of(self, user: str | None) -> Any:
        """Return what fetches for one user; raises ValueError when there is nothing for them."""
        place = self._place(user)

        async def fetch() -> Fetched:
            if self._endpoint is not None:
                return await self._token(user, place)
            assert place is not None  # noqa: S101 - every other kind has one
            steady = place.reference is not None and user is None
            return await self._sources.read(place), None if steady else self._settings.refresh

        return fetch

    def _place(self, user: str | None) -> Place | None:
        settings = self._settings
        if user is None:
            return settings.value
        named = settings.users.get(user)
        if named is not None:
            return named
        if settings.value is None:
            if settings.assertion_key is None:
                raise ValueError("no place for this user")
            return None
        return settings.value.of(user)

    async def _token(self, user: str | None, place: Place | None) -> Fetched:
        from tunnel_client.credentials.tokens import assertion

        settings = self._settings
        assert self._endpoint is not None  # noqa: S101 - asked by the caller
        assert settings.client_secret is not None  # noqa: S101 - both kinds need it
        secret = await self._sources.read(settings.client_secret)
        if settings.kind == "client_credentials":
            return await self._endpoint.for_client(secret)
        if place is not None:
            subject = await self._sources.read(place)
        else:
            subject = assertion(settings, _private(settings, self._sources.environ), user or "")
        return await self._endpoint.for_user(secret, subject)


def _private(credential: CredentialSettings, environ: Mapping[str, str]) -> SecretStr:
    return read_reference(SecretRef("file", str(credential.assertion_key)), environ)


def check_key_file(credential: CredentialSettings) -> None:
    """Check who may read the key of a client certificate; raises UnsafeFileError, SettingsError."""
    if credential.key_file is None:
        return
    try:
        read_guarded(credential.key_file, forbidden=0o027, owners=(0, *ours.owners()), links=None)
    except OSError as error:
        raise SettingsError(f"cannot read {credential.key_file}: {error.strerror}") from None


def _token_endpoint(credential: CredentialSettings) -> "TokenEndpoint | None":
    if credential.token_url is None:
        return None
    # Brings an HTTP library along, which a client without such a credential does not need.
    from tunnel_client.credentials.tokens import TokenEndpoint

    return TokenEndpoint(credential)


def _vault(
    name: str,
    credential: CredentialSettings,
    vault: VaultSettings | None,
    environ: Mapping[str, str],
) -> "Vault | None":
    if not any(place.vault for place in credential.places):
        return None
    if vault is None:
        raise SettingsError(
            f"upstream {name}: its credential is in a vault, but [vault] is missing"
        )
    from tunnel_client.credentials.vault import Vault

    given = {"token": vault.token, "role_id": vault.role_id, "secret_id": vault.secret_id}

    def login() -> dict[str, SecretStr]:
        return {key: read_reference(ref, environ) for key, ref in given.items() if ref is not None}

    return Vault(vault, login, time.monotonic)


def _unusable(name: str, place: object, error: Exception) -> UnusableCredentialError:
    return UnusableCredentialError(f"upstream {name}: the secret at {place}: {error}")
