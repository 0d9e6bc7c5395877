"""Tokens from a login: kept ones, renewed ones, and a person at a browser when nothing else helps.

One renewal at a time, in this process and among all of them. It is a task of its own, because the
call that asked first may be cancelled while the person is still typing.
"""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable

import anyio
from pydantic import SecretStr

from tunnel_client.connect.address import WebUrl
from tunnel_client.connect.authorization import Authorization
from tunnel_client.connect.callback import callback
from tunnel_client.connect.discovery import LoginPlace, discover
from tunnel_client.connect.grant import Grant, tokens
from tunnel_client.connect.notes import Notes
from tunnel_client.connect.token_endpoint import OAuthError, give_back, post_form, register
from tunnel_client.connect.token_store import TokenStore
from tunnel_client.errors import ClientError
from tunnel_client.errors_connect import (
    LoginRefusedError,
    LoginTimeoutError,
    LogoutUntoldError,
    NotRegisteredError,
    TokenRefusedError,
)

LOGIN_SECONDS = 300.0
PAUSE_SECONDS = 300.0
"""After a login that failed: no page opens again by itself, each call is told why instead."""
LOCK_SECONDS = 30.0
MARGIN_SECONDS = 30.0
"""An access token that ends sooner is renewed before it is sent."""

ShowPage = Callable[[str], Awaitable[None]]


class Login:
    """The tokens of one server; a `Bearer`. `aclose` ends a login nobody waits for any more."""

    def __init__(
        self,
        server: WebUrl,
        store: TokenStore,
        trust: ssl.SSLContext,
        notes: Notes,
        show: ShowPage,
        agent_id: str | None = None,
    ) -> None:
        self._server, self._store, self._trust = server, store, trust
        self._notes, self._show, self._agent_id = notes, show, agent_id
        self._grant: Grant | None = None
        self._task: asyncio.Task[Grant] | None = None
        self._asks = False
        self._failure: ClientError | None = None
        self._paused_until = 0.0

    async def token(self) -> SecretStr | None:
        """Return the token to send now, renewed if it is about to end; None without a login."""
        if self._grant is None:
            self._grant = await self._store.load()
        grant = self._grant
        if grant is None or grant.refresh is None or not grant.is_due(time.time(), MARGIN_SECONDS):
            return None if grant is None else grant.access
        try:
            return await self._renewed(grant.access, "", may_ask=False)
        except ClientError:
            return grant.access  # the server has the last word on it

    async def renew(self, refused: SecretStr | None, challenge: str, may_ask: bool) -> SecretStr:
        """Return another token than the refused one; raises ClientError."""
        if self._grant is not None and self._grant.access != refused:
            return self._grant.access
        return await self._renewed(refused, challenge, may_ask)

    async def aclose(self) -> None:
        """End a login in progress."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    async def log_out(self) -> bool:
        """Give the session back, then forget it; False when there was none. Raises ClientError.

        It is forgotten whatever the server says: who logs out leaves nothing behind on a machine.
        LogoutUntoldError says that the server does not know.
        """
        async with self._store.locked(LOCK_SECONDS):
            kept, untold = await self._store.load(), None
            try:
                if kept is not None:
                    await self._given_back(kept)
            except ClientError as error:
                untold = error
            await self._store.forget()
            self._grant = None
        if kept is not None and untold is not None:
            where = kept.revocation_endpoint or kept.issuer
            text = f"forgotten here, but {where} was not told that it is over: {untold.cause}"
            raise LogoutUntoldError(text)
        return kept is not None

    async def _given_back(self, kept: Grant) -> None:
        if kept.revocation_endpoint is not None:
            token = (kept.refresh or kept.access).get_secret_value()
            endpoint = WebUrl.parse(kept.revocation_endpoint)
            await give_back(endpoint, token, kept.client_id, self._trust)

    async def _renewed(self, refused: SecretStr | None, challenge: str, may_ask: bool) -> SecretStr:
        while True:
            if self._task is None or self._task.done():
                self._asks = may_ask
                self._task = asyncio.create_task(self._renew(refused, challenge, may_ask))
            task, asked = self._task, self._asks
            try:
                return (await asyncio.shield(task)).access
            except ClientError:
                if asked or not may_ask:
                    raise

    async def _renew(self, refused: SecretStr | None, challenge: str, may_ask: bool) -> Grant:
        patience = LOGIN_SECONDS + LOCK_SECONDS if may_ask else LOCK_SECONDS
        async with self._store.locked(patience):
            # Only what is kept now is renewed: another process may have used up what we remember.
            kept = await self._store.load()
            if kept is not None and kept.access != refused and not self._is_over(kept):
                self._grant = kept
                return kept
            grant = None if kept is None else await self._refreshed(kept)
            if grant is None:
                if not may_ask:
                    text = "the login at this server has ended"
                    raise TokenRefusedError(
                        text, f"tunnel-client connect --login {self._server.text}"
                    )
                grant = await self._asked(challenge)
            await self._keep(grant)
        return grant

    def _is_over(self, grant: Grant) -> bool:
        return grant.is_due(time.time(), MARGIN_SECONDS)

    async def _keep(self, grant: Grant) -> None:
        self._grant = grant
        try:
            await self._store.save(grant)
        except ClientError as error:
            self._notes.say(f"the login is good until this program ends: {error}")

    async def _refreshed(self, grant: Grant) -> Grant | None:
        """Trade the refresh token in; None when it is no longer good. Raises ClientError."""
        if grant.refresh is None:
            return None
        form = {
            "grant_type": "refresh_token",
            "refresh_token": grant.refresh.get_secret_value(),
            "client_id": grant.client_id,
            "resource": grant.server,
        }
        try:
            endpoint = WebUrl.parse(grant.token_endpoint)
            return grant.renewed(await post_form(endpoint, form, self._trust), time.time())
        except OAuthError as error:
            if error.is_final:
                return None
            raise

    async def _asked(self, challenge: str) -> Grant:
        """Have a person log in; after a failure only a while later again."""
        if self._failure is not None and time.monotonic() < self._paused_until:
            raise self._failure
        try:
            return await self._log_in(await discover(self._server, challenge, self._trust))
        except (LoginRefusedError, LoginTimeoutError) as error:
            self._failure = error
            self._paused_until = time.monotonic() + PAUSE_SECONDS
            raise

    async def _log_in(self, place: LoginPlace) -> Grant:
        ours: list[Authorization] = []
        async with callback(lambda brought: any(each.is_ours(brought) for each in ours)) as page:
            client_id = await self._client_id(place, page.redirect_uri)
            asked = Authorization(place, self._server, client_id, page.redirect_uri)
            ours.append(asked)
            await self._show(asked.url())
            try:
                with anyio.fail_after(LOGIN_SECONDS):
                    code = asked.code(await page.answer())
            except TimeoutError:
                text = f"nobody logged in within {LOGIN_SECONDS:.0f} s"
                command = f"in a terminal: tunnel-client connect --login {self._server.text}"
                raise LoginTimeoutError(text, command) from None
            answer = await post_form(place.token, asked.form(code), self._trust)
        access, refresh, expires = tokens(answer, time.time())
        return Grant(
            server=self._server.text,
            issuer=place.issuer,
            client_id=client_id,
            token_endpoint=place.token.text,
            revocation_endpoint=None if place.revoke is None else place.revoke.text,
            access=access,
            refresh=refresh,
            expires=expires,
        )

    async def _client_id(self, place: LoginPlace, redirect_uri: str) -> str:
        if self._agent_id is not None:
            return self._agent_id
        if place.register is None:
            raise NotRegisteredError(f"{place.issuer} wants a client id and registers none itself")
        return await register(place.register, redirect_uri, self._trust)
