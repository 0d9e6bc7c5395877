"""Reads secrets from a KV store of version 2 of a HashiCorp Vault or OpenBao."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import SecretStr

from tunnel_client.credentials.inject import form
from tunnel_client.credentials.settings import VaultSettings
from tunnel_client.credentials.web import Endpoint
from tunnel_client.errors_upstreams import CredentialError
from tunnel_client.upstream.egress import Egress

_AHEAD = 30.0
"""Seconds before a login's end at which we log in again."""


class Vault:
    """One vault and our login there; `token`, `role_id`, `secret_id` are read by the caller."""

    def __init__(
        self, settings: VaultSettings, login: Mapping[str, SecretStr], now: Callable[[], float]
    ) -> None:
        self._address = settings.address.rstrip("/")
        self._namespace = settings.namespace
        self._endpoint = Endpoint(settings.ca_file, Egress.of(settings.addresses))
        self._login = login
        self._now = now
        self._token = login.get("token")
        self._ends: float | None = None if self._token else 0.0
        self._logging_in = asyncio.Lock()

    async def read(self, path: str, field: str) -> SecretStr:
        """Return one field of the newest version of a secret; raises CredentialError."""
        token = await self._logged_in()
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

    async def _logged_in(self) -> SecretStr:
        async with self._logging_in:
            if self._token is not None and (self._ends is None or self._now() < self._ends):
                return self._token
            asked = await self._endpoint.ask(
                "POST",
                f"{self._address}/v1/auth/approle/login",
                json=form({key: self._login[key] for key in ("role_id", "secret_id")}),
                headers=form({"X-Vault-Namespace": self._namespace}),
            )
            given = asked.get("auth")
            token = given.get("client_token") if isinstance(given, dict) else None
            lasts = given.get("lease_duration") if isinstance(given, dict) else None
            if not isinstance(token, str) or not token or not isinstance(lasts, int):
                raise CredentialError("the vault's login is not one we know")
            self._token = SecretStr(token)
            # 0 stands for a token that does not end (Vault API, auth methods).
            self._ends = None if lasts == 0 else self._now() + max(1.0, lasts - _AHEAD)
            return self._token
