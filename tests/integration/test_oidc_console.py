"""Admins log in to the console at a real OpenID provider."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr

from tests.helpers.login import Browser
from tests.helpers.oidc_provider import RELAY_SECRET, oidc_provider
from tests.helpers.tunnel import free_port
from tests.tunnel_relay.console.stage import cookie_of
from tests.tunnel_relay.making import make_relay
from tunnel_relay.admin.logins import COOKIE
from tunnel_relay.admin.runtime import open_admin
from tunnel_relay.admin.service import Admin
from tunnel_relay.console.listener import serve_console
from tunnel_relay.events import EventRing
from tunnel_relay.identity.oidc import OidcClient
from tunnel_relay.settings import AdminListen
from tunnel_relay.settings_issuers import AllowRule, OidcSettings
from tunnel_relay.store.base import Role

pytestmark = pytest.mark.system
CROSS_SITE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}


@dataclass
class Scene:
    """A console whose people are at a provider."""

    admin: Admin
    origin: str
    issuer: str

    async def came_back(self, http: httpx2.AsyncClient, login: str) -> httpx2.Response:
        """Log in at the provider; returns what the console says to who comes back."""
        page = (await http.get(f"{self.origin}/login")).text
        assert "Log in with Example" in page
        start = page.split('href="/login/oidc/')[1].split('"')[0]
        sent = await http.get(f"{self.origin}/login/oidc/{start}")
        assert sent.headers["location"].startswith(f"{self.issuer}/auth?")
        browser = Browser(http, self.issuer)
        await browser.open(sent.headers["location"])
        while browser.page is not None:
            fields = {"login": login, "password": "x"} if "password" in browser.page.text else {}
            await browser.submit(**fields)
        assert browser.left_for.startswith(f"{self.origin}/login/oidc/callback?")
        return await http.get(browser.left_for, headers=CROSS_SITE)


@asynccontextmanager
async def a_scene(folder: Path) -> AsyncIterator[Scene]:
    at, port = free_port(), free_port()
    place = AdminListen(port=port)
    origin = f"http://127.0.0.1:{port}"
    assert place.origin == origin
    async with oidc_provider(at, f"{origin}/login/oidc/callback") as issuer:
        oidc = OidcSettings(
            issuer=issuer,
            client_id="relay",
            name="Example",
            allow=[
                AllowRule(group="ops", roles=(Role.ADMIN,)),
                AllowRule(group="dev", servers=("*",)),
            ],
        )
        settings = make_relay(folder).model_copy(update={"oidc": oidc, "admin": place})
        async with open_admin(settings, serving=True) as admin:
            client = OidcClient(admin, oidc, SecretStr(RELAY_SECRET))
            assert await client.provider.fetch()
            async with serve_console(admin, settings, EventRing(), client):
                yield Scene(admin, origin, issuer)


async def test_an_admin_of_the_provider_works_in_the_console(tmp_path: Path) -> None:
    async with a_scene(tmp_path) as scene, httpx2.AsyncClient(timeout=20) as http:
        welcome = await scene.came_back(http, "ada+ops")
        assert welcome.status_code == 200
        # Strict: it is shown with what this page leads to, not with a redirect from elsewhere.
        assert 'content="0;url=/"' in welcome.text
        shown = {"Cookie": f"{COOKIE}={cookie_of(welcome)}"}
        assert "samesite=strict" in welcome.headers["set-cookie"].lower()
        users = await http.get(f"{scene.origin}/users", headers=shown)
        assert f"{scene.issuer}#ada+ops" in users.text
        # The provider says that it asked for a password just now, as it was asked to say.
        assert "Your login is older than five minutes" not in users.text
        # Who is disabled is logged out with the next request.
        await scene.admin.user_add("another", roles=["admin"])
        await scene.admin.user_disable(f"{scene.issuer}#ada+ops")
        gone = await http.get(f"{scene.origin}/users", headers=shown)
        assert gone.headers["location"] == "/login"


async def test_u17_a_browser_that_the_provider_knows_is_asked_once_more(tmp_path: Path) -> None:
    async with a_scene(tmp_path) as scene, httpx2.AsyncClient(timeout=20) as http:
        await scene.came_back(http, "ada+ops")
        for then, asks in (("console", False), ("proof", True)):
            sent = await http.get(f"{scene.origin}/login/oidc/start", params={"next": then})
            browser = Browser(http, scene.issuer)
            await browser.open(sent.headers["location"])
            asked = browser.page is not None and "password" in browser.page.text
            assert asked is asks


@pytest.mark.parametrize("login", ["max+dev", "stranger"])
async def test_without_a_role_there_is_no_console(tmp_path: Path, login: str) -> None:
    async with a_scene(tmp_path) as scene, httpx2.AsyncClient(timeout=20) as http:
        refused = await scene.came_back(http, login)
        assert refused.status_code == 403
        assert COOKIE not in refused.headers.get("set-cookie", "")


async def test_u11_nothing_else_leads_back_into_the_console(tmp_path: Path) -> None:
    async with a_scene(tmp_path) as scene, httpx2.AsyncClient(timeout=20) as http:
        for then in ("", "/", "https://evil.example"):
            answer = await http.get(f"{scene.origin}/login/oidc/start", params={"next": then})
            assert answer.status_code == 400
        bare = await http.get(f"{scene.origin}/login/oidc/callback", params={"code": "c"})
        assert bare.status_code == 400
        assert "set-cookie" not in bare.headers
