"""A console on a real port, with people of every role, and hands to use it by."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2
from pydantic import SecretStr

from tests.helpers.tunnel import free_port
from tests.integration.scene import eventually
from tests.tunnel_relay.making import RecordedLinks, an_admin
from tunnel_relay.admin.logins import COOKIE
from tunnel_relay.admin.service import Admin
from tunnel_relay.console.app import ConsoleApp
from tunnel_relay.console.listener import ConsoleServer, server_config
from tunnel_relay.events import EventRing
from tunnel_relay.identity.oidc import OidcClient
from tunnel_relay.settings import AdminListen

PASSWORD = "correct horse battery"
PEOPLE = {
    "uma": [],
    "otto": ["auditor"],
    "pia": ["approver"],
    "ada": ["admin"],
    "abe": ["admin"],
}
"""A user, an auditor, an approver and two admins."""


@dataclass
class Hand:
    """Somebody at the console: a cookie, the token of its pages, and the origin they come from."""

    http: httpx2.AsyncClient
    cookie: str | None = None
    csrf: str = ""

    @property
    def origin(self) -> str:
        """The console's own origin."""
        url = urlsplit(str(self.http.base_url))
        return f"{url.scheme}://{url.netloc}"

    def headers(self, more: dict[str, str] | None = None) -> dict[str, str]:
        """Return what a browser sends along."""
        cookie = {"Cookie": f"{COOKIE}={self.cookie}"} if self.cookie else {}
        return cookie | (more or {})

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        """Load a page."""
        return await self.http.get(path, headers=self.headers(headers))

    async def post(
        self, path: str, fields: dict[str, Any] | None = None, **headers: str
    ) -> httpx2.Response:
        """Send a form of the console's own page."""
        sent = self.headers({"Origin": self.origin, "Sec-Fetch-Site": "same-origin"} | headers)
        return await self.http.post(path, data={"csrf": self.csrf} | (fields or {}), headers=sent)

    async def call(
        self,
        command: str,
        arguments: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx2.Response:
        """Give a command as a script of the page would."""
        own = {"Origin": self.origin, "X-CSRF-Token": self.csrf} if self.cookie else {}
        sent = self.headers(own | (headers or {}))
        return await self.http.post(f"/v1/{command}", json=arguments or {}, headers=sent)


@dataclass
class Stage:
    """A running console."""

    admin: Admin
    links: RecordedLinks
    app: ConsoleApp
    events: EventRing
    url: str
    http: httpx2.AsyncClient
    hands: dict[str, Hand] = field(default_factory=dict)

    def nobody(self) -> Hand:
        """Return somebody who is not logged in."""
        return Hand(self.http)

    async def logged_in(self, user: str) -> Hand:
        """Log a user in by the form."""
        hand = self.nobody()
        answer = await hand.post("/login", {"user": user, "password": PASSWORD})
        assert answer.status_code == 303, answer.text
        hand.cookie = cookie_of(answer)
        login = self.app.logins.find(hand.cookie, self.admin.clock())
        assert login is not None
        hand.csrf = login.csrf
        return hand

    async def token(self, user: str) -> str:
        """Make an admin token."""
        return str((await self.admin.user_token(user))["token"])


def cookie_of(answer: httpx2.Response) -> str:
    """Return the console's cookie that an answer sets."""
    name, _, value = answer.headers["set-cookie"].partition(";")[0].partition("=")
    assert name == COOKIE
    return str(value)


@asynccontextmanager
async def a_console(
    folder: Path, people: bool = True, oidc: Callable[[Admin], OidcClient] | None = None
) -> AsyncIterator[Stage]:
    """Serve a console on loopback; every one in `PEOPLE` has the password `PASSWORD`.

    `oidc` makes what logs others in at a provider.
    """
    async with an_admin(folder) as admin:
        links = admin.links = RecordedLinks()
        if people:
            hashed = await admin.passwords.hash(SecretStr(PASSWORD))
            for user, roles in PEOPLE.items():
                await admin.user_add(user, roles=roles)
                await admin._change(user, lambda now: replace(now, password=hashed))
        client = None if oidc is None else oidc(admin)
        # Where a provider leads back to has to be known before.
        place, events = AdminListen(port=0 if client is None else free_port()), EventRing()
        config = server_config(admin, admin.settings, place, events, client)
        server = ConsoleServer(config)
        app = config.app
        assert isinstance(app, ConsoleApp)
        async with anyio.create_task_group() as tasks:
            ended = anyio.Event()

            async def serve() -> None:
                await server.serve()
                ended.set()

            tasks.start_soon(serve)
            await eventually(lambda: server.started)
            port = server.servers[0].sockets[0].getsockname()[1]
            url = f"http://127.0.0.1:{port}"
            try:
                # Nothing here speaks TLS, and reading whom to trust took much of a test.
                trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                async with httpx2.AsyncClient(base_url=url, trust_env=False, verify=trust) as http:
                    yield Stage(admin, links, app, events, url, http)
            finally:
                server.should_exit = True
                with anyio.move_on_after(10, shield=True):
                    await ended.wait()
