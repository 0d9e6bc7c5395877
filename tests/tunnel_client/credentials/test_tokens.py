"""Access tokens are fetched for the client or traded for a user, and what fails is told by kind."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from pydantic import SecretStr

from tests.tunnel_client.credentials.support import (
    CANARY,
    asked,
    echo,
    secret_file,
    serving,
    upstream_settings,
)
from tests.tunnel_client.upstream.http_support import RawServer, Seen, raw_server, says
from tunnel_client.credentials.settings import CredentialSettings
from tunnel_client.credentials.tokens import TokenEndpoint, assertion
from tunnel_client.errors_upstreams import CredentialError

CLIENT_SECRET = "cnry-client-9Hy2Dk6Wm"


class Login:
    """A token endpoint that writes down what it is asked."""

    def __init__(self, server: RawServer) -> None:
        self.server = server
        self.asked: list[dict[str, str]] = []
        self.status = b"200 OK"
        self.answer: dict[str, Any] = {
            "access_token": CANARY,
            "token_type": "Bearer",
            "expires_in": 3600,
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}/token"


@asynccontextmanager
async def login_server() -> AsyncIterator[Login]:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        form = {key: values[0] for key, values in parse_qs(seen.body.decode()).items()}
        login.asked.append(form)
        body = json.dumps(login.answer).encode()
        writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n" % (login.status, len(body)))
        writer.write(body)

    async with raw_server(answer) as server:
        login = Login(server)
        yield login


def oauth(url: str, folder: Path, kind: str = "client_credentials", **more: Any) -> dict[str, Any]:
    secret = secret_file(folder, CLIENT_SECRET, "client-secret")
    given = {"kind": kind, "token_url": url, "client_id": "tunnel", "client_secret": secret}
    return given | more


async def test_a_token_is_fetched_once_for_many_calls_and_renewed_in_private(
    tmp_path: Path,
) -> None:
    async with login_server() as login, raw_server(echo) as server:
        given = oauth(login.url, tmp_path, scope="crm", resource="https://crm")
        async with serving(upstream_settings(server.url, **given)) as upstream:
            replies = await asyncio.gather(*(asked(upstream) for _ in range(10)))
            replies.append(await asked(upstream))
    assert {reply.status for reply in replies} == {200}
    assert login.asked == [
        {"grant_type": "client_credentials", "scope": "crm", "resource": "https://crm"}
    ]
    pair = base64.b64encode(f"tunnel:{CLIENT_SECRET}".encode())
    assert login.server.seen[0].header(b"authorization") == b"Basic " + pair
    sent = {seen.header(b"authorization") for seen in server.seen}
    assert sent == {f"Bearer {CANARY}".encode()}
    assert all(CANARY.encode() not in reply.body for reply in replies)


async def test_each_user_gets_a_token_of_their_own_for_a_signed_assertion(tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    place = secret_file(tmp_path, pem, "key.pem").removeprefix("file:")
    more = {"assertion_key": place, "assertion_issuer": "tunnel", "assertion_key_id": "k1"}
    async with login_server() as login, raw_server(echo) as server:
        given = oauth(login.url, tmp_path, "token_exchange", audience="crm", **more)
        async with serving(upstream_settings(server.url, **given, lists_as="ada")) as upstream:
            for user in ("ada", "bob", "ada"):
                assert (await asked(upstream, user=user)).status == 200
            assert (await asked(upstream, user=None)).status == 503
    assert len(login.asked) == 2
    for form, user in zip(login.asked, ("ada", "bob"), strict=True):
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:token-exchange"
        assert form["subject_token_type"] == "urn:ietf:params:oauth:token-type:jwt"
        assert form["audience"] == "crm"
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        claims = jwt.decode(form["subject_token"], public, ["EdDSA"], audience=login.url)
        assert (claims["sub"], claims["iss"]) == (user, "tunnel")
        assert 0 < claims["exp"] - time.time() <= 60
        assert jwt.get_unverified_header(form["subject_token"])["kid"] == "k1"
    assert len(server.seen) == 3


async def test_a_users_own_token_is_traded(tmp_path: Path) -> None:
    secret_file(tmp_path, "adas-own-token-4821", "ada.jwt")
    async with login_server() as login, raw_server(echo) as server:
        value = f"file:{tmp_path}/{{user}}.jwt"
        given = oauth(login.url, tmp_path, "token_exchange", value=value)
        async with serving(upstream_settings(server.url, **given, lists_as="ada")) as upstream:
            assert (await asked(upstream, user="ada")).status == 200
            assert (await asked(upstream, user="bob")).status == 503
    assert [form["subject_token"] for form in login.asked] == ["adas-own-token-4821"]


@pytest.mark.parametrize(
    ("status", "answer", "why"),
    [
        (b"401 No", {"error": CANARY}, "answers with status 401"),
        (b"302 Away\r\nLocation: http://127.0.0.1:1/", {}, "answers with status 302"),
        (b"200 OK", {}, "without a token"),
        (b"200 OK", {"access_token": 7, "token_type": "Bearer"}, "without a token"),
        (b"200 OK", {"access_token": CANARY, "token_type": "mac"}, "kind we do not know"),
        (b"200 OK", {"access_token": CANARY}, "kind we do not know"),
        (b"200 OK\r\nContent-Encoding: gzip", {}, "compresses"),
        (b"200 OK", {"x": "y" * 70_000}, "larger than 64 KiB"),
    ],
)
async def test_what_fails_at_the_login_is_told_by_kind(
    tmp_path: Path, status: bytes, answer: dict[str, Any], why: str
) -> None:
    """Rows C12 and C18: neither the log, nor the operator, nor the agent sees what was sent."""
    async with login_server() as login, raw_server(echo) as server:
        login.status, login.answer = status, answer
        settings = upstream_settings(server.url, **oauth(login.url, tmp_path))
        assert settings.credential is not None
        with pytest.raises(CredentialError) as caught:
            await TokenEndpoint(settings.credential).for_client(SecretStr(CLIENT_SECRET))
        assert why in str(caught.value)
        assert CANARY not in str(caught.value)
        assert CLIENT_SECRET not in str(caught.value)
        async with serving(settings) as upstream:
            reply = await asked(upstream)
        assert reply.status == 503
        assert b"status" not in reply.body
    assert server.seen == []


async def test_a_token_the_upstream_refuses_is_not_sent_twice_for_one_call(tmp_path: Path) -> None:
    """Row C18: a 401 costs this call; the next one may have a new token."""
    refused = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"
    async with login_server() as login, raw_server(says(refused)) as server:
        settings = upstream_settings(server.url, **oauth(login.url, tmp_path))
        async with serving(settings) as upstream:
            reply = await asked(upstream)
    assert reply.status == 502
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (rsa.generate_private_key(65537, 2048), "RS256"),
        (ec.generate_private_key(ec.SECP384R1()), None),
    ],
)
def test_assertions_are_signed_with_keys_that_are_good_for_it(
    key: Any, algorithm: str | None
) -> None:
    settings = CredentialSettings.model_construct(token_url="https://x", assertion_issuer="t")
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    if algorithm is None:
        with pytest.raises(CredentialError, match="none of"):
            assertion(settings, SecretStr(pem), "ada")
        return
    token = assertion(settings, SecretStr(pem), "ada").get_secret_value()
    assert jwt.get_unverified_header(token)["alg"] == algorithm
    with pytest.raises(CredentialError, match="not a private key"):
        assertion(settings, SecretStr("-----BEGIN x"), "ada")
