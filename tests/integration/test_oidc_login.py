"""Users log in at a real OpenID provider; their agents get the relay's own tokens."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx2
import pytest
import pytest_asyncio

from tests.helpers.fixture_process import http_fixture
from tests.helpers.login import Browser
from tests.helpers.oidc_provider import RELAY_SECRET, oidc_provider
from tests.helpers.tunnel import TUNNEL, HttpUpstream, Lab, free_port, make_lab
from tests.integration.scene import eventually
from tests.integration.test_issuer import CHALLENGE, POST, VERIFIER
from tests.integration.test_oauth_agents import CALLBACK

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]


@dataclass
class World:
    """A relay whose users log in at a provider."""

    lab: Lab
    issuer: str

    def authorize(self) -> str:
        """Return where an agent sends its user."""
        query = {
            "response_type": "code",
            "client_id": "desk",
            "redirect_uri": CALLBACK,
            "state": "s",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "resource": self.lab.url("server"),
        }
        return str(httpx2.URL(f"{self.lab.origin}/oauth/authorize", params=query))

    async def to_provider(self, http: httpx2.AsyncClient) -> Browser:
        """Begin at the relay and press the provider's button."""
        browser = Browser(http, self.lab.origin)
        await browser.open(self.authorize())
        assert browser.page is not None
        assert "Log in with Example" in browser.page.text
        address = browser.page.text.split('href="/oauth/oidc/')[1].split('"')[0]
        await browser.open(f"{self.lab.origin}/oauth/oidc/{address.replace('&amp;', '&')}")
        assert browser.left_for.startswith(f"{self.issuer}/auth?")
        return browser

    async def through_provider(self, http: httpx2.AsyncClient, url: str, login: str) -> str:
        """Log in and consent at the provider; returns where it sends the browser."""
        browser = Browser(http, self.issuer)
        await browser.open(url)
        while browser.page is not None:
            fields = {"login": login, "password": "x"} if "password" in browser.page.text else {}
            await browser.submit(**fields)
        return browser.left_for

    async def logged_in(self, http: httpx2.AsyncClient, login: str) -> Browser:
        """Do all of it, up to what the relay shows then."""
        browser = await self.to_provider(http)
        back = await self.through_provider(http, browser.left_for, login)
        assert back.startswith(f"{self.lab.origin}/oauth/oidc/callback?")
        browser.left_for = ""
        await browser.open(back)
        return browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    port, at = free_port(), free_port()

    def prepare(lab: Lab) -> None:
        lab.environment["OIDC_SECRET"] = RELAY_SECRET
        lab.environment["TUNNEL_RELAY_OIDC__ISSUER"] = f"http://127.0.0.1:{at}"
        lab.environment["TUNNEL_RELAY_OIDC__CLIENT_ID"] = "relay"
        lab.environment["TUNNEL_RELAY_OIDC__CLIENT_SECRET"] = "env:OIDC_SECRET"
        lab.environment["TUNNEL_RELAY_OIDC__NAME"] = "Example"
        lab.environment["TUNNEL_RELAY_OIDC__ALLOW"] = (
            f'[{{"group": "ops", "servers": ["{TUNNEL}/server"]}}]'
        )

    back = f"http://127.0.0.1:{port}/oauth/oidc/callback"
    async with (
        oidc_provider(at, back) as issuer,
        http_fixture() as url,
        make_lab({"server": HttpUpstream(url)}, port=port, prepare=prepare) as lab,
    ):
        await lab.relay_command("agent", "add", "desk", "--redirect-uri", CALLBACK)
        log = lab.folder / "relay.log"
        await eventually(lambda: "event=issuer_keys " in log.read_text())
        yield World(lab, issuer)


async def test_a_user_of_the_provider_logs_in_consents_and_the_agent_calls(world: World) -> None:
    async with httpx2.AsyncClient(timeout=20) as http:
        browser = await world.logged_in(http, "ada+ops")
        assert browser.page is not None
        assert f"{world.issuer}#ada+ops" in browser.page.text
        await browser.submit("allow")
        form = {
            "grant_type": "authorization_code",
            "code": browser.brought["code"],
            "redirect_uri": CALLBACK,
            "client_id": "desk",
            "code_verifier": VERIFIER,
        }
        token = (await http.post(f"{world.lab.origin}/oauth/token", data=form)).json()
        headers = {**POST, "Authorization": f"Bearer {token['access_token']}"}
        message = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "desk", "version": "1"},
            },
        }
        answer = await http.post(world.lab.url("server"), headers=headers, json=message)
        assert answer.status_code == 200
    (session,) = (await world.lab.relay_json("session", "list"))["sessions"][:1]
    assert (session["user"], session["door"]) == (f"{world.issuer}#ada+ops", "oauth")


async def test_who_belongs_to_no_group_of_ours_is_told_so(world: World) -> None:
    async with httpx2.AsyncClient(timeout=20) as http:
        browser = await world.logged_in(http, "stranger")
        assert browser.page is not None
        assert browser.page.status_code == 403
    users = (await world.lab.relay_json("user", "list"))["users"]
    assert "stranger" not in str(users)


async def test_u11_a_login_cannot_be_pushed_into_another_browser(world: World) -> None:
    """Login CSRF: the attacker's code and state, in the victim's browser."""
    async with (
        httpx2.AsyncClient(timeout=20) as theirs,
        httpx2.AsyncClient(timeout=20) as victims,
    ):
        mine = await world.to_provider(theirs)
        back = await world.through_provider(theirs, mine.left_for, "eve+ops")
        await world.to_provider(victims)
        refused = await victims.get(back)
        assert refused.status_code == 400
        assert "set-cookie" not in refused.headers
        # Used once, it is used up; a second time opens nothing in any browser.
        assert (await theirs.get(back)).status_code == 303
        assert (await theirs.get(back)).status_code == 400


@pytest.mark.parametrize("then", ["", "x", "https://evil.example/", "//evil.example", "/oauth"])
async def test_u11_what_comes_after_is_no_address(world: World, then: str) -> None:
    async with httpx2.AsyncClient() as http:
        start = httpx2.URL(f"{world.lab.origin}/oauth/oidc/start", params={"next": then})
        answer = await http.get(start)
        assert answer.status_code == 400
        assert "location" not in answer.headers


async def test_the_log_holds_no_code_state_token_or_secret(world: World) -> None:
    """S19."""
    async with httpx2.AsyncClient(timeout=20) as http:
        browser = await world.to_provider(http)
        back = await world.through_provider(http, browser.left_for, "tom+ops")
        await browser.open(back)
    log = (world.lab.folder / "relay.log").read_text()
    sent = httpx2.URL(back).params
    for secret in (sent["code"], sent["state"], RELAY_SECRET, "eyJ"):
        assert secret not in log
