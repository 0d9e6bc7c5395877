"""What the client asks by itself of an upstream with a credential for each user: as `lists_as`."""

import asyncio
import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.helpers.consented import guards
from tests.tunnel_client.credentials.support import (
    CANARY,
    asked,
    secret_file,
    serving,
    upstream_settings,
)
from tests.tunnel_client.credentials.test_tokens import login_server, oauth
from tests.tunnel_client.test_settings import HEAD, parse, refusal
from tests.tunnel_client.upstream.http_support import Seen, raw_server, says
from tunnel_client.catalog.definitions import Kind
from tunnel_client.catalog.listing import list_upstream
from tunnel_client.credentials.guarded import GuardedUpstream
from tunnel_client.errors_upstreams import ListingError, NoCredentialError, UpstreamTestError
from tunnel_client.settings import UpstreamSettings
from tunnel_client.upstream_ask import Answer, ask, modern
from tunnel_client.upstream_probe import probe_upstream

OTHER = "cnry-other-77Yp3Vc9Qr"
TOOL = {"name": "look", "inputSchema": {"type": "object"}}
INTRODUCTION = {
    "supportedVersions": ["2026-07-28"],
    "protocolVersion": "2025-11-25",
    "capabilities": {"tools": {}},
}


class Server:
    """An MCP server that lists its tool only to who shows a credential it knows."""

    def __init__(self, modern: bool = True, known: tuple[str, ...] = (CANARY,)) -> None:
        self.known = [f"Bearer {each}".encode() for each in known]
        first = "server/discover" if modern else "initialize"
        self.results: dict[str, Any] = {first: INTRODUCTION, "tools/list": {"tools": [TOOL]}}

    async def __call__(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.header(b"authorization") not in self.known:
            writer.write(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
            return
        message = json.loads(seen.body) if seen.body else {}
        if "id" not in message:
            writer.write(b"HTTP/1.1 202 Ok\r\nContent-Length: 0\r\n\r\n")
            return
        result = self.results.get(message["method"])
        said = {"error": {"code": -32601}} if result is None else {"result": result}
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], **said}).encode()
        session = b"Mcp-Session-Id: abc\r\n" if message["method"] == "initialize" else b""
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n"
        writer.write(head % (session, len(body)) + body)


async def listed(settings: UpstreamSettings) -> list[str]:
    async with serving(settings) as upstream:
        return [item.name for item in (await list_upstream(upstream)).of(Kind.TOOL)]


def bearer(url: str, folder: Path, **more: Any) -> UpstreamSettings:
    """Return an upstream whose users have a file each; ada's is there."""
    secret_file(folder, CANARY, "ada.token")
    return upstream_settings(url, kind="bearer", value=f"file:{folder}/{{user}}.token", **more)


def unnamed(url: str, folder: Path) -> UpstreamSettings:
    """Return the same with nobody to list as, which goes only where no tool needs a pin."""
    given = bearer(url, folder, lists_as="ada")
    assert given.credential is not None
    credential = given.credential.model_copy(update={"lists_as": None})
    return given.model_copy(update={"credential": credential, "pinning": "off"})


@pytest.mark.parametrize("modern", [True, False])
async def test_it_is_listed_with_the_credential_of_that_user(tmp_path: Path, modern: bool) -> None:
    """Whatever the era, from the introduction to the farewell."""
    async with raw_server(Server(modern)) as server:
        assert await listed(bearer(server.url, tmp_path, lists_as="ada")) == ["look"]
        report = await probe_upstream(bearer(server.url, tmp_path, lists_as="ada"), {}, guards())
    assert bool(report.modern) is modern
    assert {seen.header(b"authorization") for seen in server.seen} == {f"Bearer {CANARY}".encode()}
    assert modern or any(seen.start.startswith(b"DELETE") for seen in server.seen)


async def test_one_of_the_named_users_may_be_it(tmp_path: Path) -> None:
    subject = "https://login.example#4711"
    users = {subject: secret_file(tmp_path)}
    async with raw_server(Server()) as server:
        given = upstream_settings(server.url, kind="bearer", users=users, lists_as=subject)
        assert await listed(given) == ["look"]


async def test_a_token_is_traded_for_that_user(tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    place = secret_file(tmp_path, pem, "key.pem").removeprefix("file:")
    more = {"assertion_key": place, "assertion_issuer": "tunnel", "lists_as": "lister"}
    async with login_server() as login, raw_server(Server()) as server:
        given = oauth(login.url, tmp_path, "token_exchange", **more)
        assert await listed(upstream_settings(server.url, **given)) == ["look"]
    (form,) = login.asked
    claims = jwt.decode(form["subject_token"], options={"verify_signature": False})
    assert claims["sub"] == "lister"


async def test_agents_are_shown_as_themselves_and_nobody_becomes_that_user(tmp_path: Path) -> None:
    secret_file(tmp_path, OTHER, "bob.token")
    async with (
        raw_server(Server(known=(CANARY, OTHER))) as server,
        serving(bearer(server.url, tmp_path, lists_as="ada")) as upstream,
    ):
        await list_upstream(upstream)
        assert (await asked(upstream, user="bob")).status == 200
        assert server.seen[-1].header(b"authorization") == f"Bearer {OTHER}".encode()
        before = len(server.seen)
        for nobody in (None, "", "eve", "../ada"):
            assert (await asked(upstream, user=nobody)).status == 503
        assert len(server.seen) == before
        assert isinstance(upstream, GuardedUpstream)
        assert "ada" not in str({**upstream.report(), "problem": None})


async def test_without_it_nothing_is_sent_and_the_setting_is_named(tmp_path: Path) -> None:
    async with raw_server(Server()) as server:
        given = unnamed(server.url, tmp_path)
        with pytest.raises(ListingError, match="lists_as") as caught:
            await listed(given)
        assert "lists_as" in caught.value.next
        with pytest.raises(NoCredentialError, match="lists_as") as found:
            await probe_upstream(given, {}, guards())
        assert found.value.code == "MT2523"
        async with serving(given) as upstream:
            assert (await asked(upstream, user="ada")).status == 200
    assert len(server.seen) == 1


async def test_a_secret_that_is_not_there_is_told_as_what_it_is(tmp_path: Path) -> None:
    async with raw_server(Server()) as server:
        given = bearer(server.url, tmp_path, lists_as="eve")
        with pytest.raises(ListingError, match=r"the user of lists_as: .*cannot be read") as caught:
            await listed(given)
        assert "lists_as" in caught.value.next
        shared: dict[str, Any] = {"command": ["/bin/false"]}
        with pytest.raises(ListingError, match=r"no credential to ask with: .*ended with 1"):
            await listed(upstream_settings(server.url, kind="bearer", value=shared))
    assert server.seen == []


@pytest.mark.parametrize("status", [b"401 No", b"403 No"])
async def test_a_credential_that_is_refused_is_told_as_that(tmp_path: Path, status: bytes) -> None:
    answer = b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % status
    async with raw_server(says(answer)) as server:
        with pytest.raises(ListingError, match="refuses the credential") as caught:
            await listed(bearer(server.url, tmp_path, lists_as="ada"))
    assert CANARY not in str(caught.value)


async def test_an_answer_that_failed_once_does_not_fail_again(tmp_path: Path) -> None:
    async with serving(unnamed("http://127.0.0.1:1/mcp", tmp_path)) as upstream:
        answer = Answer()
        with pytest.raises(UpstreamTestError):
            await ask(upstream, modern("tools/list", "s"), answer, 10)
        answer.no_credential("late", "never")


ORIGIN = "http://crm:80"
TABLE = f"""[[upstream]]
name = "crm"
url = "{ORIGIN}/mcp"
[upstream.credential]
origin = "{ORIGIN}"
"""
EXCHANGE = """kind = "token_exchange"
token_url = "https://login/token"
client_id = "x"
client_secret = "env:S"
assertion_key = "k.pem"
assertion_issuer = "tunnel"
"""
BEARER = 'kind = "bearer"\nvalue = "file:/creds/{user}.token"\n'
NAMED = 'kind = "bearer"\nusers = { "https://login#7" = "file:/creds/7", bob = "file:/creds/b" }\n'


@pytest.mark.parametrize("given", [BEARER, NAMED, EXCHANGE])
def test_where_tools_need_pins_it_has_to_be_said(given: str) -> None:
    cause = refusal(HEAD + TABLE + given)
    assert "set credential.lists_as" in cause
    assert "/etc/tunnel/client.toml:" in cause
    free = TABLE.replace("[upstream.credential]", 'pinning = "off"\n[upstream.credential]')
    (upstream,) = parse(HEAD + free + given).upstream
    assert upstream.credential is not None
    assert upstream.credential.lists_as is None


@pytest.mark.parametrize(
    ("given", "user"),
    [(BEARER, "ada@example.org"), (NAMED, "https://login#7"), (EXCHANGE, "https://login#7")],
)
def test_it_is_written_as_users_are(given: str, user: str) -> None:
    (upstream,) = parse(HEAD + TABLE + given + f'lists_as = "{user}"\n').upstream
    assert upstream.credential is not None
    assert upstream.credential.lists_as == user


@pytest.mark.parametrize(
    ("given", "user", "why"),
    [
        (BEARER, "https://login#7", "lists_as"),
        (BEARER, "../ada", "lists_as"),
        (BEARER, "", "lists_as"),
        (NAMED, "eve", "lists_as is none of users"),
        (EXCHANGE, "", "lists_as"),
        (EXCHANGE, "a\\u0000", "lists_as"),
        ('kind = "bearer"\nvalue = "env:X"\n', "ada", "a credential for each user only"),
        ('kind = "mtls"\ncert_file = "c"\nkey_file = "k"\n', "ada", "does not go with mtls"),
    ],
)
def test_a_user_who_can_have_no_credential_there_is_refused(
    given: str, user: str, why: str
) -> None:
    assert why in refusal(HEAD + TABLE + given + f'lists_as = "{user}"\n')
