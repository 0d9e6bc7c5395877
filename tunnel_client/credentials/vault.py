"""Reads secrets from a KV store of version 2 of a HashiCorp Vault or OpenBao."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from pydantic import SecretStr

from shared.backoff import Backoff
from tunnel_client.credentials.inject import form, same
from tunnel_client.credentials.settings import VaultSettings
from tunnel_client.credentials.web import Endpoint
from tunnel_client.errors import ClientError
from tunnel_client.errors_upstreams import CredentialError
from tunnel_client.upstream.egress import Egress

log = structlog.get_logger("tunnel_client.credentials")

_AHEAD = 30.0
"""Seconds before a login's end at which we log in again."""
_FORBIDDEN = 403
"""For a token that is over as well as for a path that it does not open; which, nobody says."""
_MOST_OPENED = 1024
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
        self._renew: float | None = None
        self._logging_in = asyncio.Lock()
        self._failed, self._vain = _Pause(now), _Pause(now)
        self._problem = ""
        self._opened: dict[str, None] = {}
        """Paths that a token of ours opened, the latest last."""

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
        found = await self._field(path, field, await self._in_place_of(token, path))
        self._vain.over()  # it was the token, not the path
        return found

    def read_again(self) -> None:
        """Log in anew, by what lies there now; raises ClientError, and all stays as it was.

        The token of a role serves on until the login gives another.
        """
        token = self._login().get("token")
        if token is None:
            self._renew = self._now()
        else:
            self._token = token
        self._failed.over()
        self._vain.over()

    async def _field(self, path: str, field: str, token: SecretStr) -> SecretStr:
        mount, _, rest = path.partition("/")
        url = f"{self._address}/v1/{mount}/data/{rest}"
        headers = form({"X-Vault-Token": token, "X-Vault-Namespace": self._namespace})
        answer = await self._endpoint.ask("GET", url, headers=headers)
        self._opened.pop(path, None)
        self._opened[path] = None
        if len(self._opened) > _MOST_OPENED:
            del self._opened[next(iter(self._opened))]
        value: Any = answer
        for key in ("data", "data", field):
            value = value.get(key) if isinstance(value, dict) else None
        if not isinstance(value, str) or not value:
            raise CredentialError("the vault has no such field")
        return SecretStr(value)

    async def _logged_in(self) -> SecretStr:
        """Return our token; one login for all who ask meanwhile."""
        async with self._logging_in:
            held = self._token
            if held is None:
                return await self._another()
            if self._renew is None or self._now() < self._renew or self._failed.lasts:
                return held
            try:
                return await self._another()
            except ClientError as error:
                log.warning("no new login at the vault, the old one serves on", reason=error.cause)
                return held

    async def _in_place_of(self, refused: SecretStr, path: str) -> SecretStr:
        """Return another token than the one that did not open `path`.

        It is replaced only by one that a login gave: it may open all other paths. What a token of
        ours has opened before is worth a login at once; elsewhere it may be the path, and those who
        read such wait together.
        """
        async with self._logging_in:
            held = self._token
            if held is not None and held is not refused:
                return held
            if self._vain.lasts and path not in self._opened:
                raise _forbidden()
            token = await self._another(refused)
            self._opened.pop(path, None)  # until this one opens it
            return token

    async def _another(self, refused: SecretStr | None = None) -> SecretStr:
        login = self._login()
        token, renew = login.get("token"), None
        if token is None:
            token, renew = await self._approle(login)
            if refused is not None:
                self._vain.longer()  # over when the new token opens what the old did not
        elif refused is not None and same(token, refused):
            raise _forbidden()  # the same one lies there still
        self._token, self._renew = token, renew
        return token

    async def _approle(self, login: Mapping[str, SecretStr]) -> tuple[SecretStr, float | None]:
        """Log in; what failed is not done again at once: a vault is not to be worn out."""
        if self._failed.lasts:
            raise CredentialError(self._problem)
        try:
            token, lasts = await self._ask_approle(login)
        except CredentialError as error:
            self._failed.longer()
            self._problem = error.cause
            raise
        self._failed.over()
        # 0 stands for a token that does not end (Vault API, auth methods).
        return token, None if lasts == 0 else self._now() + max(1.0, lasts - _AHEAD)

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


class _Pause:
    """How long no login is tried: longer each time, until one was of use."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.over()

    @property
    def lasts(self) -> bool:
        return self._now() < self._ends

    def longer(self) -> None:
        self._times += 1
        self._ends = self._now() + _BACKOFF.ceiling(self._times)

    def over(self) -> None:
        self._times, self._ends = 0, 0.0


def _forbidden() -> CredentialError:
    return CredentialError(f"it answers with status {_FORBIDDEN}")
