"""Reads secrets from a KV store of version 2 of a HashiCorp Vault or OpenBao."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import SecretStr

from shared.backoff import Backoff
from tunnel_client.credentials.inject import form, same
from tunnel_client.credentials.settings import VaultSettings
from tunnel_client.credentials.web import Endpoint
from tunnel_client.errors_upstreams import CredentialError
from tunnel_client.upstream.egress import Egress

_AHEAD = 30.0
"""Seconds before a login's end at which we log in again."""
_FORBIDDEN = 403
"""For a token that is over as well as for a path that it does not open; which, nobody says."""
_BACKOFF = Backoff()


class Vault:
    """One vault and our login there.

    `login` reads `token`, or `role_id` and `secret_id`, where they lie now; it raises ClientError.
    """

    def __init__(
        self,
        settings: VaultSettings,
        login: Callable[[], Mapping[str, SecretStr]],
        now: Callable[[], float],
    ) -> None:
        """Read the login once, so that one that is missing is heard of now; raises ClientError."""
        self._address = settings.address.rstrip("/")
        self._namespace = settings.namespace
        self._endpoint = Endpoint(settings.ca_file, Egress.of(settings.addresses))
        self._login = login
        self._now = now
        self._token = login().get("token")
        self._ends: float | None = None
        self._logging_in = asyncio.Lock()
        self._in_vain = 0
        self._not_before = 0.0
        self._problem = ""

    async def read(self, path: str, field: str) -> SecretStr:
        """Return one field of the newest version of a secret; raises ClientError.

        When our token is refused, another one is had and the secret is asked for once more.
        """
        token = await self._logged_in()
        try:
            return await self._field(path, field, token)
        except CredentialError as error:
            if error.status != _FORBIDDEN:
                raise
        found = await self._field(path, field, await self._logged_in(refused=token))
        self._in_vain, self._not_before = 0, 0.0  # it was the token, not the path
        return found

    def read_again(self) -> None:
        """Log in anew, by what lies there now; raises ClientError, and all stays as it was."""
        self._token, self._ends = self._login().get("token"), None
        self._in_vain, self._not_before = 0, 0.0

    async def _field(self, path: str, field: str, token: SecretStr) -> SecretStr:
        mount, _, rest = path.partition("/")
        url = f"{self._address}/v1/{mount}/data/{rest}"
        headers = form({"X-Vault-Token": token, "X-Vault-Namespace": self._namespace})
        answer = await self._endpoint.ask("GET", url, headers=headers)
        value: Any = answer
        for key in ("data", "data", field):
            value = value.get(key) if isinstance(value, dict) else None
        if not isinstance(value, str) or not value:
            raise CredentialError("the vault has no such field")
        return SecretStr(value)

    async def _logged_in(self, refused: SecretStr | None = None) -> SecretStr:
        """Return our token, another one than `refused`; one login for all who ask meanwhile."""
        async with self._logging_in:
            held = self._token
            if held is not None and held is not refused:
                if self._ends is None or self._now() < self._ends:
                    return held
            elif self._now() < self._not_before:
                raise CredentialError(self._problem)
            self._token = None
            login = self._login()
            token = login.get("token")
            if token is None:
                token = await self._approle(login, refused)
            elif refused is not None and same(token, refused):
                raise _forbidden()  # the same one lies there still
            self._token = token
            return token

    async def _approle(
        self, login: Mapping[str, SecretStr], refused: SecretStr | None
    ) -> SecretStr:
        """Log in; what did not help is not done again at once: a vault is not to be worn out."""
        try:
            token, lasts = await self._ask_approle(login)
        except CredentialError as error:
            self._pause(error.cause)
            raise
        if refused is None:
            self._in_vain = 0
        else:
            self._pause(_forbidden().cause)  # lifted when the new token opens what the old did not
        # 0 stands for a token that does not end (Vault API, auth methods).
        self._ends = None if lasts == 0 else self._now() + max(1.0, lasts - _AHEAD)
        return token

    async def _ask_approle(self, login: Mapping[str, SecretStr]) -> tuple[SecretStr, int]:
        asked = await self._endpoint.ask(
            "POST",
            f"{self._address}/v1/auth/approle/login",
            json=form({key: login[key] for key in ("role_id", "secret_id")}),
            headers=form({"X-Vault-Namespace": self._namespace}),
        )
        given = asked.get("auth")
        token = given.get("client_token") if isinstance(given, dict) else None
        lasts = given.get("lease_duration") if isinstance(given, dict) else None
        if not isinstance(token, str) or not token or not isinstance(lasts, int):
            raise CredentialError("the vault's login is not one we know")
        return SecretStr(token), lasts

    def _pause(self, why: str) -> None:
        self._in_vain += 1
        self._not_before = self._now() + _BACKOFF.ceiling(self._in_vain)
        self._problem = why


def _forbidden() -> CredentialError:
    return CredentialError(f"it answers with status {_FORBIDDEN}")
