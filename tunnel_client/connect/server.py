"""The MCP server at its URL: sends one request with a token, and once more with a better one."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

import httpx2
from pydantic import SecretStr

from tunnel_client.connect.address import WebUrl
from tunnel_client.connect.http import READ_SECONDS
from tunnel_client.errors_connect import TokenRefusedError

MAX_CHALLENGE = 4096


class Bearer(Protocol):
    """Where tokens come from."""

    async def token(self) -> SecretStr | None:
        """Return the token to send now, None when there is none yet; raises ClientError."""

    async def renew(self, refused: SecretStr | None, challenge: str, may_ask: bool) -> SecretStr:
        """Return another token than the refused one; raises ClientError.

        Without `may_ask` nobody is asked to log in: then it is a token at hand or none.
        """


class FixedToken:
    """A token that was given to us; there is no other."""

    def __init__(self, token: SecretStr) -> None:
        self._token = token

    async def token(self) -> SecretStr | None:
        return self._token

    async def renew(self, refused: SecretStr | None, challenge: str, may_ask: bool) -> SecretStr:
        raise TokenRefusedError("the server does not take this token (wrong, expired or revoked)")


class Server:
    """Sends requests to one URL."""

    def __init__(self, url: WebUrl, http: httpx2.AsyncClient, bearer: Bearer) -> None:
        self.url = url
        self._http = http
        self._bearer = bearer

    @asynccontextmanager
    async def send(
        self,
        method: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        silence: float | None = READ_SECONDS,
        may_ask: bool = True,
    ) -> AsyncIterator[httpx2.Response]:
        """Yield the response as soon as its head is here; its connection ends with the block.

        `silence` bounds the wait for bytes, None does not; `may_ask` tells whether a person may be
        asked to log in. A request that got 401 did not run, so
        sending it again is no second run. Raises ClientError and what httpx2 raises.
        """
        token = await self._bearer.token()
        response = await self._attempt(method, headers, body, token, silence)
        try:
            if response.status_code == 401:
                challenge = ", ".join(response.headers.get_list("www-authenticate"))
                await response.aclose()
                token = await self._bearer.renew(token, challenge[:MAX_CHALLENGE], may_ask)
                response = await self._attempt(method, headers, body, token, silence)
                if response.status_code == 401:
                    raise TokenRefusedError("the server does not take the token it has just given")
            yield response
        finally:
            await response.aclose()

    async def _attempt(
        self,
        method: str,
        headers: Mapping[str, str],
        body: bytes | None,
        token: SecretStr | None,
        silence: float | None,
    ) -> httpx2.Response:
        sent = dict(headers)
        if token is not None:
            sent["Authorization"] = f"Bearer {token.get_secret_value()}"
        request = self._http.build_request(method, self.url.text, headers=sent, content=body)
        request.extensions["timeout"]["read"] = silence
        return await self._http.send(request, stream=True)
