"""A real agent finds out where to log in, sends its user there, and calls; all by itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx2
import pytest
import pytest_asyncio
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from tests.helpers.fixture_process import http_fixture
from tests.helpers.login import PASSWORD, Browser
from tests.helpers.sdk_login import Memory
from tests.helpers.tunnel import TUNNEL, HttpUpstream, Lab, make_lab

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

CALLBACK = "http://127.0.0.1:9/callback"
SERVER = f"{TUNNEL}/server"


class Person:
    """Logs in and decides, at a browser of their own."""

    def __init__(self, lab: Lab, user: str = "bob", decision: str = "allow") -> None:
        self.lab = lab
        self.user = user
        self.decision = decision
        self.logins = 0
        self.brought: dict[str, str] = {}

    async def visit(self, url: str) -> None:
        """Do what the agent's user does when the browser opens."""
        self.logins += 1
        async with httpx2.AsyncClient() as http:
            browser = Browser(http, self.lab.origin)
            await browser.open(url)
            await browser.log_in(self.user)
            await browser.submit(self.decision)
            self.brought = browser.brought
            assert browser.left_for.startswith(CALLBACK)

    async def came_back(self) -> AuthorizationCodeResult:
        """Return what the browser brought to the agent."""
        brought = self.brought
        return AuthorizationCodeResult(
            code=brought.get("code", ""), state=brought["state"], iss=brought["iss"]
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    def prepare(lab: Lab) -> None:
        lab.environment["TUNNEL_RELAY_OAUTH__DYNAMIC_REGISTRATION"] = "true"

    async with http_fixture() as url:
        targets = {"server": HttpUpstream(url), "other": HttpUpstream(url)}
        async with make_lab(targets, prepare=prepare) as made:
            secret = made.folder / "password"
            secret.write_text(PASSWORD + "\n")
            words = ("--server", SERVER, "--password-file", str(secret))
            await made.relay_command("user", "add", "bob", *words)
            await made.relay_command("user", "add", "eve", "--password-file", str(secret))
            await made.relay_command("agent", "add", "desk", "--redirect-uri", CALLBACK)
            yield made


def provider(lab: Lab, person: Person, memory: Memory, upstream: str) -> OAuthClientProvider:
    metadata = OAuthClientMetadata(
        client_name="The test's agent",
        redirect_uris=[AnyUrl(CALLBACK)],
        token_endpoint_auth_method="none",
    )
    return OAuthClientProvider(lab.url(upstream), metadata, memory, person.visit, person.came_back)


@asynccontextmanager
async def agent(
    lab: Lab, person: Person, memory: Memory, upstream: str = "server"
) -> AsyncIterator[Client]:
    login = provider(lab, person, memory, upstream)
    async with httpx2.AsyncClient(auth=login, timeout=30) as http:
        transport = streamable_http_client(lab.url(upstream), http_client=http)
        async with Client(transport) as client:
            yield client


async def test_an_agent_logs_its_user_in_lists_and_calls(lab: Lab) -> None:
    person, memory = Person(lab), Memory()
    with anyio.fail_after(60):
        async with agent(lab, person, memory) as client:
            assert "test_simple_text" in [tool.name for tool in (await client.list_tools()).tools]
            assert not (await client.call_tool("test_simple_text", {})).is_error
    assert person.logins == 1
    assert memory.registered
    (session,) = [
        each
        for each in (await lab.relay_json("session", "list"))["sessions"]
        if each["agent"] == memory.registered.client_id
    ]
    assert (session["user"], session["server"], session["door"]) == ("bob", SERVER, "oauth")
    assert session["calls"] > 1
    assert session["granted_by"] == "bob"
    listed = (await lab.relay_json("agent", "list"))["agents"]
    assert [each["name"] for each in listed if each["kind"] == "dynamic"] == ["The test's agent"]


async def test_a_token_is_renewed_without_a_person_and_the_session_stays(lab: Lab) -> None:
    """S16: binding survives the refresh; a refresh token is good once."""
    registered = OAuthClientInformationFull(
        client_id="desk", redirect_uris=[AnyUrl(CALLBACK)], token_endpoint_auth_method="none"
    )
    person, memory = Person(lab), Memory(registered)
    with anyio.fail_after(60):
        async with agent(lab, person, memory) as client:
            await client.list_tools()
        first = memory.tokens
        assert first is not None
        assert first.refresh_token is not None
        form = {
            "grant_type": "refresh_token",
            "refresh_token": first.refresh_token,
            "client_id": "desk",
            "resource": lab.url("server"),
        }
        async with httpx2.AsyncClient() as http:
            renewed = await http.post(f"{lab.origin}/oauth/token", data=form)
            assert renewed.status_code == 200
            assert renewed.headers["cache-control"] == "no-store"
            memory.tokens = OAuthToken.model_validate(renewed.json())
            assert memory.tokens.access_token != first.access_token
            async with agent(lab, person, memory) as client:
                await client.list_tools()
            assert person.logins == 1
            sessions = (await lab.relay_json("session", "list"))["sessions"]
            (mine,) = [each for each in sessions if each["agent"] == "desk"]
            # The thief, or the victim after the thief: nobody can tell, so it ends for both.
            again = await http.post(f"{lab.origin}/oauth/token", data=form)
            assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
        shown = await lab.relay_json("session", "show", mine["id"])
        assert shown["session"]["state"] == "revoked"
        assert "twice" in shown["session"]["reason"]


async def test_a_token_for_one_server_opens_no_other(lab: Lab) -> None:
    """H07: audience."""
    person, memory = Person(lab), Memory()
    with anyio.fail_after(60):
        async with agent(lab, person, memory) as client:
            await client.list_tools()
    assert memory.tokens
    bearer = {"Authorization": f"Bearer {memory.tokens.access_token}"}
    async with httpx2.AsyncClient() as http:
        for path in ("/t/lab/other/mcp", "/t/lab/nowhere/mcp", "/t/nobody/server/mcp"):
            answer = await http.post(lab.origin + path, headers=bearer, json={})
            assert answer.status_code == 404


@pytest.mark.parametrize("user", ["bob", "eve"])
async def test_a_user_who_denies_or_may_not_gives_nothing(lab: Lab, user: str) -> None:
    person = Person(lab, user, "deny")
    async with httpx2.AsyncClient() as http:
        before = await lab.relay_json("session", "list", "--all")
        url = await authorize_url(http, lab)
        await person.visit(url)
        assert person.brought["error"] == "access_denied"
        assert person.brought["iss"] == lab.origin
        assert await lab.relay_json("session", "list", "--all") == before


async def authorize_url(http: httpx2.AsyncClient, lab: Lab, **changed: str | None) -> str:
    """Build the address an agent sends its user to, from the relay's own metadata."""
    described = (await http.get(f"{lab.origin}/.well-known/oauth-authorization-server")).json()
    query = {
        "response_type": "code",
        "client_id": "desk",
        "redirect_uri": CALLBACK,
        "state": "s",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
        "resource": lab.url("server"),
        **changed,
    }
    kept = {name: value for name, value in query.items() if value is not None}
    return str(httpx2.URL(described["authorization_endpoint"], params=kept))


async def test_the_challenge_leads_to_the_metadata_and_says_the_same_of_all(lab: Lab) -> None:
    """H04, H05, A2: where to go is in the header; a token in the address is none."""
    async with httpx2.AsyncClient() as http:
        for path in ("/t/lab/server/mcp", "/t/lab/nowhere/mcp"):
            refused = await http.post(lab.origin + path, json={})
            assert refused.status_code == 401
            challenge = refused.headers["www-authenticate"]
            assert "error" not in challenge
            where = challenge.partition('resource_metadata="')[2].partition('"')[0]
            described = (await http.get(where)).json()
            assert described["resource"] == lab.origin + path
            assert described["authorization_servers"] == [lab.origin]
            # An agent in a page of an allowed origin has to read the challenge.
            page = {"Origin": lab.origin}
            refused = await http.post(lab.origin + path, json={}, headers=page)
            assert refused.headers["access-control-allow-origin"] == lab.origin
            assert "www-authenticate" in refused.headers["access-control-expose-headers"]
        in_query = await http.post(lab.url("server") + "?access_token=mts_" + "A" * 43, json={})
        assert in_query.status_code == 401
        wrong = {"Authorization": "Bearer mts_" + "A" * 43}
        refused = await http.post(lab.url("server"), headers=wrong, json={})
        assert 'error="invalid_token"' in refused.headers["www-authenticate"]
    assert "A" * 43 not in (lab.folder / "relay.log").read_text()


async def test_what_is_wrong_with_a_request_goes_back_to_the_agent_or_to_nobody(lab: Lab) -> None:
    """U11: no PKCE, another resource; an unknown agent or place is never redirected to."""
    async with httpx2.AsyncClient() as http:
        changes: list[tuple[dict[str, str | None], str]] = [
            ({"code_challenge": None}, "invalid_request"),
            ({"code_challenge_method": "plain"}, "invalid_request"),
            ({"response_type": "token"}, "unsupported_response_type"),
            ({"resource": None}, "invalid_target"),
            ({"resource": "https://elsewhere.example/t/a/b/mcp"}, "invalid_target"),
        ]
        for changed, error in changes:
            answer = await http.get(await authorize_url(http, lab, **changed))
            assert answer.status_code == 303
            sent = parse_qs(urlsplit(answer.headers["location"]).query)
            assert (sent["error"], sent["state"]) == ([error], ["s"])
            assert sent["iss"] == [lab.origin]
        nowhere: list[dict[str, str | None]] = [
            {"client_id": "nobody"},
            {"client_id": None},
            {"redirect_uri": "http://127.0.0.1:9/elsewhere"},
            {"redirect_uri": "https://evil.example/"},
            {"redirect_uri": None},
        ]
        for changed in nowhere:
            answer = await http.get(await authorize_url(http, lab, **changed))
            assert answer.status_code == 400
            assert "location" not in answer.headers
        twice = await http.get(await authorize_url(http, lab) + "&client_id=desk")
        assert twice.status_code == 400


async def test_a_form_of_another_page_or_browser_changes_nothing(lab: Lab) -> None:
    """U01, U11: the cookie, the secret in the form and the origin all have to fit."""
    async with httpx2.AsyncClient() as http, httpx2.AsyncClient() as stranger:
        browser = Browser(http, lab.origin)
        await browser.open(await authorize_url(http, lab))
        assert browser.page is not None
        page = browser.page
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        browser.headers = {"Origin": "https://evil.example"}
        await browser.log_in("bob")
        assert browser.page.status_code == 403
        browser.page, browser.headers = page, {"Sec-Fetch-Site": "cross-site"}
        await browser.log_in("bob")
        assert browser.page.status_code == 403
        other = Browser(stranger, lab.origin, page)
        await other.log_in("bob")
        assert other.page is not None
        assert other.page.status_code == 403
        browser.page, browser.headers = page, {}
        await browser.submit(user="bob", password=PASSWORD, csrf="x")
        assert browser.page.status_code == 403
        browser.page = page
        cookie = dict(http.cookies)
        await browser.log_in("bob")
        assert browser.page.status_code == 200
        # Whoever planted the cookie before is not logged in by it.
        assert dict(http.cookies) != cookie


async def test_guessing_is_slowed_down_and_learns_nothing(lab: Lab) -> None:
    """U10."""
    async with httpx2.AsyncClient() as http:
        browser = Browser(http, lab.origin)
        await browser.open(await authorize_url(http, lab))
        first = browser.page
        texts = set()
        for user in ("nobody-here", "eve"):
            browser.page = first
            await browser.log_in(user, "wrong password")
            assert browser.page is not None
            assert browser.page.status_code == 401
            texts.add(browser.page.text)
        assert len(texts) == 1
        for _ in range(60):
            browser.page = first
            await browser.log_in("nobody-here", "wrong password")
            assert browser.page is not None
            if browser.page.status_code == 429:
                break
        assert browser.page is not None
        assert browser.page.status_code == 429


async def test_nothing_secret_is_in_the_log_or_the_database(lab: Lab) -> None:
    """S18, S19: canaries."""
    person, memory = Person(lab), Memory()
    with anyio.fail_after(60):
        async with agent(lab, person, memory) as client:
            await client.list_tools()
    assert memory.tokens
    assert memory.tokens.refresh_token
    secrets = [memory.tokens.access_token, memory.tokens.refresh_token, person.brought["code"]]
    files = [lab.folder / "relay.log", *(lab.folder / "relay" / "state").glob("relay.db*")]
    for file in files:
        content = await asyncio.to_thread(file.read_bytes)
        for secret in [*secrets, PASSWORD]:
            assert secret.encode() not in content, file


async def test_an_agent_gives_its_session_back(lab: Lab) -> None:
    """RFC 7009, and U05: a session's token is no key to anything else."""
    person, memory = Person(lab), Memory()
    with anyio.fail_after(60):
        async with agent(lab, person, memory) as client:
            await client.list_tools()
    assert memory.tokens
    assert memory.registered
    form = {"token": memory.tokens.access_token}
    async with httpx2.AsyncClient() as http:
        other = await http.post(f"{lab.origin}/oauth/revoke", data={**form, "client_id": "desk"})
        assert other.status_code == 200
        bearer = {"Authorization": f"Bearer {memory.tokens.access_token}"}
        assert (await http.post(lab.url("server"), headers=bearer, json={})).status_code == 400
        mine = {**form, "client_id": str(memory.registered.client_id)}
        assert (await http.post(f"{lab.origin}/oauth/revoke", data=mine)).status_code == 200
        assert (await http.post(lab.url("server"), headers=bearer, json={})).status_code == 401
