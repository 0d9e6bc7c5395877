"""A credential reaches its upstream and nobody else."""

import base64
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.consented import make_consented
from tests.helpers.tls import Authority
from tests.tunnel_client.credentials.support import (
    CANARY,
    asked,
    echo,
    made,
    secret_file,
    serving,
    upstream_settings,
)
from tests.tunnel_client.upstream.http_support import OK, Recorder, raw_server, response, says
from tunnel_client.credentials.guarded import GuardedUpstream
from tunnel_client.credentials.scrub import MASK
from tunnel_client.errors import UnsafeFileError
from tunnel_client.errors_upstreams import CredentialOriginError, UnusableCredentialError
from tunnel_client.settings import UpstreamSettings
from tunnel_client.upstream.http import HttpUpstream

PAIR = base64.b64encode(f"svc:{CANARY}".encode()).decode()


@pytest.mark.parametrize(
    ("given", "header", "value"),
    [
        ({"kind": "bearer"}, b"authorization", f"Bearer {CANARY}"),
        ({"kind": "header", "name": "X-Crm-Login"}, b"x-crm-login", CANARY),
        ({"kind": "api_key", "name": "X-API-Key"}, b"x-api-key", CANARY),
        ({"kind": "basic", "user": "svc"}, b"authorization", f"Basic {PAIR}"),
    ],
)
async def test_each_kind_is_sent_once_and_taken_out_of_the_echo(
    tmp_path: Path, given: dict[str, str], header: bytes, value: str
) -> None:
    """Rows C02, C10 and H07: what the agent sends under that name, in any case, is dropped."""
    spelled = header.decode()
    async with raw_server(echo) as server:
        settings = upstream_settings(server.url, value=secret_file(tmp_path), **given)
        async with serving(settings) as upstream:
            reply = await asked(
                upstream,
                (header, b"agent's"),
                (spelled.upper().encode(), b"agent's"),
                (spelled.replace("-", "_").encode(), b"agent's"),
                (b"X-Upstream-Authorization", b"agent's"),
                (b"x-api-key", b"agent's") if header != b"x-api-key" else (b"x-a", b"1"),
            )
            assert server.seen[0].header(header) == value.encode()
            assert b"agent's" not in server.seen[0].raw
            assert reply.status == 200
            assert MASK in reply.body
            assert CANARY.encode() not in reply.body
            assert PAIR[8:].encode() not in reply.body
            assert isinstance(upstream, GuardedUpstream)
            assert upstream.report()["scrub_hits"] == 1
    assert "path" not in str(server.seen[0].start)
    assert CANARY.encode() not in server.seen[0].start


async def test_an_upstream_without_secrets_is_not_wrapped() -> None:
    upstream = make_consented(UpstreamSettings(name="x", url="http://127.0.0.1:1/mcp"), {})
    assert type(upstream) is HttpUpstream


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_takes_the_credential_nowhere(tmp_path: Path, status: int) -> None:
    """Rows C06 and R03: the attacker's server sees nothing at all."""
    async with raw_server(says(OK)) as attacker:
        away = response(
            b"Location: " + attacker.url.encode(), status=b"%d Away" % status, body=b"go"
        )
        async with raw_server(says(away)) as server:
            settings = upstream_settings(server.url, kind="bearer", value=secret_file(tmp_path))
            async with serving(settings) as upstream:
                reply = await asked(upstream)
    assert reply.status == 502
    assert b"location" not in reply.names
    assert str(attacker.port).encode() not in reply.body
    assert attacker.seen == []
    assert attacker.connections == 0


def test_a_credential_does_not_go_along_when_the_url_is_changed(tmp_path: Path) -> None:
    """Row C14."""
    for url in ("http://elsewhere:80/mcp", "https://crm:80/mcp", "http://crm:81/mcp"):
        settings = upstream_settings(
            url, kind="bearer", origin="http://crm:80", value=secret_file(tmp_path)
        )
        with pytest.raises(CredentialOriginError) as caught:
            make_consented(settings, {})
        assert caught.value.code == "MT2520"
        assert caught.value.next
        assert CANARY not in str(caught.value)
    same = upstream_settings(
        "http://crm/other", kind="bearer", origin="http://crm:80", value=secret_file(tmp_path)
    )
    make_consented(same, {})


@pytest.mark.parametrize("weak", ["short", "aaaaaaaaaaaaaaaaaaaaaaaa", "0123456789abcdef"])
def test_a_weak_secret_is_refused_unless_it_is_said_that_nothing_is_scrubbed(
    tmp_path: Path, weak: str
) -> None:
    """Row C15."""
    place = secret_file(tmp_path, weak)
    settings = upstream_settings("http://crm/mcp", kind="bearer", value=place)
    with pytest.raises(UnusableCredentialError) as caught:
        make_consented(settings, {})
    assert weak not in str(caught.value)
    bare = upstream_settings("http://crm/mcp", kind="bearer", value=place, scrub=False)
    upstream = make_consented(bare, {})
    assert isinstance(upstream, GuardedUpstream)
    assert upstream.report()["scrub"] is False


def test_a_secret_in_a_file_others_can_reach_is_refused(tmp_path: Path) -> None:
    """Row C21."""
    place = secret_file(tmp_path)
    settings = upstream_settings("http://crm/mcp", kind="bearer", value=place)
    (tmp_path / "token").chmod(0o644)
    with pytest.raises(UnsafeFileError, match="open to others"):
        make_consented(settings, {})
    (tmp_path / "token").chmod(0o600)
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "link").symlink_to(tmp_path / "token")
    shared.chmod(0o777)
    link = upstream_settings("http://crm/mcp", kind="bearer", value=f"file:{shared / 'link'}")
    with pytest.raises(UnsafeFileError, match="symbolic link"):
        make_consented(link, {})


async def test_each_user_has_a_secret_and_nobody_gets_that_of_another(tmp_path: Path) -> None:
    other = "cnry-other-77Yp3Vc9Qr"
    secret_file(tmp_path, CANARY, "ada.token")
    secret_file(tmp_path, other, "bob.token")
    secret_file(tmp_path, "outside-of-the-folder-1234", "token")
    (tmp_path / "creds").mkdir()
    async with raw_server(echo) as server:
        value = f"file:{tmp_path}/{{user}}.token"
        settings = upstream_settings(server.url, kind="bearer", value=value, lists_as="ada")
        async with serving(settings) as upstream:
            for user, secret in (("ada", CANARY), ("bob", other), ("ada", CANARY)):
                reply = await asked(upstream, user=user)
                assert reply.status == 200
                sent = server.seen[-1].header(b"authorization")
                assert sent == f"Bearer {secret}".encode()
                assert secret.encode() not in reply.body
            before = len(server.seen)
            others: list[str | None] = [None, "", "eve", "../token", "..", "a/b", "ada\n", "a..b"]
            for nobody in [*others, "x" * 200]:
                reply = await asked(upstream, user=nobody)
                assert reply.status == 503
                assert reply.error()["message"] == "The server cannot be called now"
                assert reply.error()["data"]["delivery"] == "never_sent"
            assert len(server.seen) == before


async def test_single_users_may_be_named(tmp_path: Path) -> None:
    async with raw_server(echo) as server:
        users = {"ada": secret_file(tmp_path)}
        settings = upstream_settings(server.url, kind="bearer", users=users, lists_as="ada")
        async with serving(settings) as upstream:
            assert (await asked(upstream, user="ada")).status == 200
            assert (await asked(upstream, user="bob")).status == 503
    assert len(server.seen) == 1


async def test_who_waits_for_a_credential_can_be_cut(tmp_path: Path) -> None:
    slow: dict[str, Any] = {"command": ["/bin/sh", "-c", "exec sleep 60"]}
    async with raw_server(echo) as server:
        settings = upstream_settings(server.url, kind="bearer", value=slow)
        async with serving(settings) as upstream:
            replies = [Recorder(), Recorder(), Recorder()]
            first = upstream.open(made(), replies[0])
            upstream.open(made(), replies[1])
            upstream.open(made(), replies[2])
            first.cancel()
            upstream.end_session(made().session)
            assert replies[0].told == []
            assert replies[1].failure is not None
            assert isinstance(upstream, GuardedUpstream)
            assert not upstream.waiting
    assert server.seen == []


async def test_a_client_certificate_is_shown_to_its_upstream_only(tmp_path: Path) -> None:
    authority = Authority()
    ca = authority.write(tmp_path / "ca.pem")
    chain, key = authority.files(tmp_path, "client.internal")
    key.chmod(0o600)
    context = authority.server("localhost")
    context.load_verify_locations(cafile=str(ca))
    context.verify_mode = ssl.CERT_REQUIRED
    async with raw_server(says(OK), tls=context) as server:
        url = f"https://localhost:{server.port}/mcp"
        plain = UpstreamSettings(name="plain", url=url, ca_file=ca)
        shown = upstream_settings(url, kind="mtls", cert_file=str(chain), key_file=str(key))
        shown = shown.model_copy(update={"ca_file": ca})
        async with serving(shown) as upstream:
            assert (await asked(upstream)).status == 200
        async with serving(plain) as upstream:
            assert (await asked(upstream)).failure is not None
        key.chmod(0o644)
        with pytest.raises(UnsafeFileError):
            make_consented(shown, {})
