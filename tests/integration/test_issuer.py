"""Agents with tokens of another issuer: a real OpenID provider, the real SDK, the same sessions."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import httpx2
import pytest
import pytest_asyncio
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata
from pydantic import AnyUrl

from tests.helpers.fixture_process import http_fixture
from tests.helpers.login import Browser
from tests.helpers.oidc_provider import oidc_provider
from tests.helpers.sdk_login import Memory
from tests.helpers.tunnel import TUNNEL, HttpUpstream, Lab, free_port, make_lab
from tests.integration.scene import eventually
from tests.integration.test_oauth_agents import CALLBACK

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
POST = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


@dataclass
class World:
    """A relay that trusts a provider."""

    lab: Lab
    issuer: str

    async def brought(self, http: httpx2.AsyncClient, url: str, login: str) -> dict[str, str]:
        """Log in at the provider and consent there; returns what it sends the browser away with."""
        browser = Browser(http, self.issuer)
        await browser.open(url)
        while browser.page is not None:
            fields = {"login": login, "password": "x"} if "password" in browser.page.text else {}
            await browser.submit(**fields)
        return browser.brought

    async def token(self, login: str, upstream: str = "server") -> str:
        """Get an access token for a server, as an agent called desk."""
        return (await self.tokens(login, upstream))[0]

    async def refreshed(self, refresh: str) -> tuple[str, str]:
        """Trade a refresh token in."""
        form = {"grant_type": "refresh_token", "refresh_token": refresh, "client_id": "desk"}
        async with httpx2.AsyncClient(timeout=20) as http:
            answer = (await http.post(f"{self.issuer}/token", data=form)).json()
            return str(answer["access_token"]), str(answer["refresh_token"])

    async def tokens(self, login: str, upstream: str = "server") -> tuple[str, str]:
        """Get an access token and a refresh token."""
        resource = self.lab.url(upstream)
        query = {
            "response_type": "code",
            "client_id": "desk",
            "redirect_uri": CALLBACK,
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "scope": "openid offline_access mcp",
            "prompt": "consent",
            "state": "s",
            "resource": resource,
        }
        async with httpx2.AsyncClient(timeout=20) as http:
            url = str(httpx2.URL(f"{self.issuer}/auth", params=query))
            code = (await self.brought(http, url, login))["code"]
            form = {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": CALLBACK,
                "client_id": "desk",
                "code_verifier": VERIFIER,
                "resource": resource,
            }
            answer = await http.post(f"{self.issuer}/token", data=form)
            found = answer.json()
            return str(found["access_token"]), str(found.get("refresh_token", ""))

    async def call(self, token: str, upstream: str = "server") -> httpx2.Response:
        """Initialize at a server with a token."""
        said = {"protocolVersion": "2025-11-25", "capabilities": {}}
        said["clientInfo"] = {"name": "desk", "version": "1"}
        message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": said}
        headers = {**POST, "Authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(timeout=20) as http:
            return await http.post(
                self.lab.url(upstream), headers=headers, content=json.dumps(message)
            )

    async def sessions(self, login: str, *words: str) -> list[dict[str, Any]]:
        """Return the sessions of a user of the provider."""
        listed = (await self.lab.relay_json("session", "list", *words))["sessions"]
        return [each for each in listed if each["user"] == f"{self.issuer}#{login}"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    async with make_world() as made:
        yield made


@asynccontextmanager
async def make_world() -> AsyncIterator[World]:
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"

    def prepare(lab: Lab) -> None:
        allow = [
            {"group": "ops", "servers": [f"{TUNNEL}/server"]},
            {"group": "all", "servers": [f"{TUNNEL}/*"]},
        ]
        trusted = {"url": issuer, "allow": allow}
        lab.environment["TUNNEL_RELAY_ISSUER"] = json.dumps([trusted])

    async with oidc_provider(port), http_fixture() as url:
        targets = {"server": HttpUpstream(url), "other": HttpUpstream(url)}
        async with make_lab(targets, prepare=prepare) as lab:
            log = lab.folder / "relay.log"
            await eventually(lambda: "event=issuer_keys " in log.read_text())
            yield World(lab, issuer)


async def test_the_sdks_agent_finds_the_provider_by_itself_and_calls(world: World) -> None:
    memory = Memory()
    arrived: dict[str, str] = {}

    async def visit(url: str) -> None:
        async with httpx2.AsyncClient(timeout=20) as http:
            arrived.update(await world.brought(http, url, "sue+ops"))

    async def back() -> AuthorizationCodeResult:
        return AuthorizationCodeResult(
            code=arrived["code"], state=arrived["state"], iss=arrived.get("iss")
        )

    metadata = OAuthClientMetadata(
        client_name="SDK", redirect_uris=[AnyUrl(CALLBACK)], token_endpoint_auth_method="none"
    )
    metadata = metadata.model_copy(update={"application_type": "native"})
    login = OAuthClientProvider(world.lab.url("server"), metadata, memory, visit, back)
    with anyio.fail_after(60):
        async with httpx2.AsyncClient(auth=login, timeout=30) as http:
            transport = streamable_http_client(world.lab.url("server"), http_client=http)
            async with Client(transport) as client:
                assert not (await client.call_tool("test_simple_text", {})).is_error
    (session,) = await world.sessions("sue+ops")
    assert session["door"] == "issuer"
    assert session["granted_by"] == world.issuer
    users = (await world.lab.relay_json("user", "list"))["users"]
    (sue,) = [each for each in users if each["subject"] == "sue+ops"]
    assert (sue["issuer"], sue["groups"], sue["login"]) == (world.issuer, ["ops"], False)


async def test_s16_the_next_token_of_the_same_three_opens_the_same_session(world: World) -> None:
    first, second = await world.token("ada+ops"), await world.token("ada+ops")
    assert first != second
    for token in (first, second, first):
        assert (await world.call(token)).status_code == 200
    (session,) = await world.sessions("ada+ops")
    assert session["calls"] >= 3
    # The same e-mail, another subject: another session.
    assert (await world.call(await world.token("eve+ops"))).status_code == 200
    assert len(await world.sessions("ada+ops")) == 1
    assert len(await world.sessions("eve+ops")) == 1


async def test_h07_a_token_is_for_one_server_and_for_whom_may_use_it(world: World) -> None:
    token = await world.token("max+all")
    assert (await world.call(token, "other")).status_code == 401
    assert (await world.call(token)).status_code == 200
    assert (await world.call(token, "other")).status_code == 401
    stranger = await world.call(await world.token("nobody"))
    nowhere = await world.call(await world.token("max+all", "nowhere"), "nowhere")
    assert stranger.status_code == 404
    assert await world.sessions("nobody", "--all") == []
    # An upstream that nobody serves is not there now; a tunnel's rules may allow it all the same.
    assert nowhere.status_code == 503


async def test_what_an_admin_ended_no_token_of_that_login_opens_again(world: World) -> None:
    """S07: not even a refreshed one; a new login at the provider does, and so does an admin."""
    token, refresh = await world.tokens("kim+ops")
    assert (await world.call(token)).status_code == 200
    (session,) = await world.sessions("kim+ops")
    said = await world.lab.relay_command("session", "revoke", session["id"])
    assert "session lift" in said
    refreshed, refresh = await world.refreshed(refresh)
    for old in (token, refreshed):
        answer = await world.call(old)
        assert answer.status_code == 401
        assert "resource_metadata=" in answer.headers["www-authenticate"]
    assert await world.sessions("kim+ops") == []

    async def logged_in_anew() -> bool:
        # The provider counts whole seconds: a login in the second of the revocation is no later.
        return (await world.call(await world.token("kim+ops"))).status_code == 200

    await eventually(logged_in_anew, every=0.3)
    assert (await world.call(refreshed)).status_code == 401
    (bar,) = (await world.lab.relay_json("session", "barred"))["barred"]
    await world.lab.relay_command("session", "lift", bar["session"][:12])
    assert (await world.call(refreshed)).status_code == 200


async def test_a_disabled_user_stays_out_until_enabled(world: World) -> None:
    token = await world.token("jim+ops")
    assert (await world.call(token)).status_code == 200
    await world.lab.relay_command("user", "disable", f"{world.issuer}#jim+ops")
    for old in (token, await world.token("jim+ops")):
        assert (await world.call(old)).status_code == 401
    await world.lab.relay_command("user", "enable", f"{world.issuer}#jim+ops")
    assert (await world.call(token)).status_code == 200


async def test_a_lock_holds_against_a_good_token(world: World) -> None:
    """S10."""
    assert (await world.call(await world.token("lou+ops"))).status_code == 200
    added = await world.lab.relay_json(
        "lock", "add", "--user", f"{world.issuer}#lou+ops", "--reason", "test"
    )
    assert (await world.call(await world.token("lou+ops"))).status_code == 401
    await world.lab.relay_command("lock", "remove", added["lock"]["id"])
    assert (await world.call(await world.token("lou+ops"))).status_code == 200


async def test_new_keys_are_fetched_when_a_token_names_one(world: World) -> None:
    old = await world.token("pat+ops")
    assert (await world.call(old)).status_code == 200
    async with httpx2.AsyncClient() as http:
        await http.post(f"{world.issuer}/rotate")
    new = await world.token("pat+ops")

    async def accepted() -> bool:
        return (await world.call(new)).status_code == 200

    await eventually(accepted, every=0.5)
    # The key that vanished opens nothing.
    assert (await world.call(old)).status_code == 401


async def test_nothing_of_a_token_is_in_the_log(world: World) -> None:
    """S19."""
    token = await world.token("tom+ops")
    assert (await world.call(token)).status_code == 200
    assert (await world.call(token[:-4] + "AAAA")).status_code == 401
    log = (world.lab.folder / "relay.log").read_text()
    assert token.split(".")[1] not in log
    assert token.split(".")[2] not in log
