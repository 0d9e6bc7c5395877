"""An authorization server in this process, and the browsers and agents that use it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from pydantic import SecretStr

from tests.helpers.login import PASSWORD, Browser
from tests.tunnel_relay.making import URL, an_admin
from tunnel_relay.admin.service import Admin
from tunnel_relay.app import Pages, edge_of
from tunnel_relay.identity.oauth import AuthorizationServer
from tunnel_relay.settings import OAuth

SERVER = "lab/server"
RESOURCE = f"{URL}/t/{SERVER}/mcp"
OTHER_URL = "https://other.example.com"
CALLBACK = "http://127.0.0.1:9/callback"
PAGE = "https://page.example"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
"""The pair of RFC 7636 appendix B."""
Form = dict[str, Any]


@dataclass
class Scene:
    """The server, its clock (seconds; every part that has one shares it) and its people."""

    admin: Admin
    server: AuthorizationServer
    app: Pages
    stack: AsyncExitStack
    now: float = 1000.0

    async def http(self, address: str = "192.0.2.1") -> httpx2.AsyncClient:
        """Return a program, or a browser with cookies of its own, at an address."""
        transport = httpx2.ASGITransport(self.app, client=(address, 1))
        made = httpx2.AsyncClient(transport=transport, base_url=URL)
        return await self.stack.enter_async_context(made)

    async def browser(self, address: str = "192.0.2.1") -> Browser:
        """Return a browser."""
        return Browser(await self.http(address), URL)

    def authorize(self, agent: str = "desk", **changed: str | None) -> str:
        """Return the address an agent sends its user to."""
        query = {
            "response_type": "code",
            "client_id": agent,
            "redirect_uri": CALLBACK,
            "state": "s",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "resource": RESOURCE,
            **changed,
        }
        kept = {name: value for name, value in query.items() if value is not None}
        return str(httpx2.URL(f"{URL}/oauth/authorize", params=kept))

    async def consented(self, agent: str = "desk", **changed: str | None) -> str:
        """Let a user log in and consent; returns the code."""
        browser = await self.browser()
        await browser.open(self.authorize(agent, **changed))
        await browser.log_in("bob")
        await browser.submit("allow")
        return browser.brought["code"]

    async def tokens(self, agent: str = "desk", **changed: str | None) -> Form:
        """Let a user consent, and trade the code in."""
        answer = await self.trade(code_form(await self.consented(agent, **changed), agent))
        assert answer.status_code == 200, answer.text
        found: Form = answer.json()
        return found

    async def trade(self, form: Form, path: str = "token", **headers: str) -> httpx2.Response:
        """Post a form as an agent does."""
        return await (await self.http()).post(f"/oauth/{path}", data=form, headers=headers)

    def live(self) -> list[Any]:
        """Return the sessions that are not over."""
        now = self.admin.clock()
        sessions = self.admin.sessions
        return [each for each in sessions.all() if sessions.state(each.id, now) is None]

    def opens(self, token: str) -> bool:
        """Tell whether an access token opens its server now."""
        return self.admin.sessions.find(token, self.admin.clock()) is not None


def code_form(code: str, agent: str = "desk", **changed: str) -> Form:
    """Return what an agent sends with a code."""
    return {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": CALLBACK,
        "client_id": agent,
        "code_verifier": VERIFIER,
        "resource": RESOURCE,
        **changed,
    }


def refresh_form(tokens: Form, agent: str = "desk", **changed: str) -> Form:
    """Return what an agent sends with a refresh token."""
    return {
        "grant_type": "refresh_token",
        "refresh_token": tokens["refresh_token"],
        "client_id": agent,
        **changed,
    }


@asynccontextmanager
async def a_server(folder: Path, **oauth: Any) -> AsyncIterator[Scene]:
    """Make a relay with one tunnel, users bob (may), eve (may not), and the agent desk."""
    async with an_admin(folder) as admin, AsyncExitStack() as stack:
        admin.settings = admin.settings.model_copy(
            update={
                "public_url": (URL, OTHER_URL),
                "allowed_origins": (PAGE,),
                "oauth": OAuth(**oauth),
            }
        )
        password = SecretStr(PASSWORD)
        await admin.tunnel_create("lab", owner="ada")
        await admin.user_add("bob", servers=[SERVER], password=password)
        await admin.user_add("eve", password=password)
        await admin.agent_add("desk", [CALLBACK])
        scene: Scene
        server = AuthorizationServer(admin, admin.settings, lambda: scene.now)
        scene = Scene(admin, server, Pages(server.routes, edge_of(admin.settings).hosts), stack)
        yield scene
