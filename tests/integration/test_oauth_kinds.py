"""Every kind of agent the SDK can be: with a secret, with a document; and it renews by itself."""

import json
from collections.abc import AsyncIterator

import anyio
import httpx2
import pytest
import pytest_asyncio
import trustme
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata
from pydantic import AnyUrl

from tests.helpers.fixture_process import http_fixture
from tests.helpers.login import PASSWORD
from tests.helpers.sdk_login import Memory
from tests.helpers.tunnel import HttpUpstream, Lab, make_lab
from tests.integration.test_oauth_agents import CALLBACK, SERVER, Person
from tests.tunnel_relay.identity.document_host import served, whole

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

AUTHORITY = trustme.CA()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    trust = tmp_path_factory.mktemp("trust") / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(str(trust))

    def prepare(lab: Lab) -> None:
        lab.environment["SSL_CERT_FILE"] = str(trust)
        lab.environment["TUNNEL_RELAY_OAUTH__DOCUMENT_HOSTS"] = json.dumps(["localhost"])

    async with (
        http_fixture() as url,
        make_lab({"server": HttpUpstream(url)}, prepare=prepare) as made,
    ):
        secret = made.folder / "password"
        secret.write_text(PASSWORD + "\n")
        words = ("--server", SERVER, "--password-file", str(secret))
        await made.relay_command("user", "add", "bob", *words)
        yield made


def login(
    lab: Lab, memory: Memory, person: Person, document: str | None = None
) -> OAuthClientProvider:
    metadata = OAuthClientMetadata(client_name="An agent", redirect_uris=[AnyUrl(CALLBACK)])
    return OAuthClientProvider(
        *(lab.url("server"), metadata, memory, person.visit, person.came_back),
        client_metadata_url=document,
    )


async def lists(lab: Lab, provider: OAuthClientProvider) -> bool:
    async with httpx2.AsyncClient(auth=provider, timeout=30) as http:
        transport = streamable_http_client(lab.url("server"), http_client=http)
        async with Client(transport) as client:
            return bool((await client.list_tools()).tools)


@pytest.mark.parametrize("way", ["client_secret_post", "client_secret_basic"])
async def test_an_agent_with_a_secret_logs_in_and_renews_by_itself(lab: Lab, way: str) -> None:
    words = ("agent", "add", f"safe-{way}", "--redirect-uri", CALLBACK, "--secret")
    made = await lab.relay_json(*words)
    registered = OAuthClientInformationFull(
        client_id=f"safe-{way}",
        client_secret=made["secret"],
        redirect_uris=[AnyUrl(CALLBACK)],
        token_endpoint_auth_method=way,
    )
    person, memory = Person(lab), Memory(registered)
    provider = login(lab, memory, person)
    with anyio.fail_after(60):
        assert await lists(lab, provider)
        first = memory.tokens
        assert first is not None
        provider.context.token_expiry_time = 1.0  # an hour has passed, as far as the agent knows
        assert await lists(lab, provider)
    assert memory.tokens is not None
    assert memory.tokens.access_token != first.access_token
    assert person.logins == 1
    sessions = (await lab.relay_json("session", "list"))["sessions"]
    assert len([each for each in sessions if each["agent"] == f"safe-{way}"]) == 1
    for name in ("relay.log", "relay/state/relay.db", "relay/state/relay.db-wal"):
        path = lab.folder / name
        assert (
            not path.exists() or made["secret"].encode() not in await anyio.Path(path).read_bytes()
        )


async def test_an_agent_with_a_document_needs_no_registration(lab: Lab) -> None:
    def answer(url: str) -> bytes:
        return whole(url, redirect_uris=[CALLBACK], client_name="A documented agent")

    async with served(answer, AUTHORITY) as (url, _, asked):
        person, memory = Person(lab), Memory()
        provider = login(lab, memory, person, url)
        with anyio.fail_after(60):
            assert await lists(lab, provider)
        assert len(asked) == 1
        assert memory.registered is not None
        assert memory.registered.client_id == url
    # Its host may be away: what was consented to goes on.
    with anyio.fail_after(60):
        assert await lists(lab, provider)
        provider.context.token_expiry_time = 1.0
        assert await lists(lab, provider)
    assert person.logins == 1
    (shown,) = [
        each for each in (await lab.relay_json("agent", "list"))["agents"] if each["agent"] == url
    ]
    assert (shown["kind"], shown["name"]) == ("document", "A documented agent")


async def test_without_registration_there_is_no_place_to_register(lab: Lab) -> None:
    async with httpx2.AsyncClient() as http:
        path = "/.well-known/oauth-authorization-server"
        assert "registration_endpoint" not in (await http.get(lab.origin + path)).json()
        assert (await http.post(lab.origin + "/oauth/register", json={})).status_code == 404
