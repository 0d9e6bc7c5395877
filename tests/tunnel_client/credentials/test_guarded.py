"""A credential reaches its upstream and nobody else, and no answer shows it."""

import asyncio
import base64
import gzip
import os
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

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
from tests.tunnel_client.upstream.http_support import (
    OK,
    Recorder,
    Seen,
    call,
    eventually,
    raw_server,
    response,
    says,
)
from tunnel_client.credentials.guarded import GuardedUpstream
from tunnel_client.credentials.hits import LOCK_HITS
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


@pytest.mark.parametrize("status", ["401 No", "403 No", "407 No", "500 Oops", "503 Busy"])
async def test_complaints_of_the_upstream_are_told_by_kind_only(
    tmp_path: Path, status: str
) -> None:
    """Rows C05 and C18: neither the body nor the fields that explain how to log in pass."""
    page = f"<html>log in with {CANARY} at https://login.internal</html>".encode()
    lines = [b"Content-Type: text/html", b'WWW-Authenticate: Bearer realm="internal"']
    lines += [b"Set-Cookie: a=b", b"Location: https://login.internal/"]
    answer = response(*lines, body=page, status=status.encode())
    async with raw_server(says(answer)) as server:
        settings = upstream_settings(server.url, kind="bearer", value=secret_file(tmp_path))
        async with serving(settings) as upstream:
            reply = await asked(upstream)
    assert reply.status == (int(status[:3]) if status >= "5" else 502)
    assert reply.error()["message"] in ("upstream answer: error", "upstream answer: access refused")
    assert b"internal" not in reply.body
    assert reply.names <= {b"content-type", b"content-length"}
    assert len(server.seen) == 1


async def test_a_field_that_is_named_after_a_secret_does_not_pass(tmp_path: Path) -> None:
    """Row C03: a name is text of the upstream's as well, and comes in small letters."""
    lines = [b"Content-Type: application/json", b"Mcp-" + CANARY.encode() + b": 1"]
    async with raw_server(says(response(*lines))) as server:
        settings = upstream_settings(server.url, kind="bearer", value=secret_file(tmp_path))
        async with serving(settings) as upstream:
            for hits in (1, 2):
                reply = await asked(upstream)
                assert reply.names == {b"content-type"}
                assert isinstance(upstream, GuardedUpstream)
                assert upstream.report()["scrub_hits"] == hits


async def test_fields_of_an_answer_pass_by_a_list_and_scrubbed(tmp_path: Path) -> None:
    lines = [b"Content-Type: application/json", b"Mcp-Note: has " + CANARY.encode()]
    lines += [b"X-Debug: " + CANARY.encode(), b"Retry-After: 3", b"Cache-Control: no-store"]
    async with raw_server(says(response(*lines))) as server:
        settings = upstream_settings(server.url, kind="bearer", value=secret_file(tmp_path))
        async with serving(settings) as upstream:
            for _ in range(3):
                reply = await asked(upstream)
                assert reply.header(b"mcp-note") == b"has " + MASK
                assert reply.names == {
                    *(b"content-type", b"mcp-note", b"retry-after", b"cache-control"),
                }


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"deflate", b"zstd"])
async def test_a_packed_answer_is_refused(tmp_path: Path, coding: bytes) -> None:
    """Row C09: identity was asked for."""
    packed = response(
        b"Content-Type: application/json",
        b"Content-Encoding: " + coding,
        body=gzip.compress(CANARY.encode()),
    )
    async with raw_server(says(packed)) as server:
        settings = upstream_settings(server.url, kind="bearer", value=secret_file(tmp_path))
        async with serving(settings) as upstream:
            reply = await asked(upstream)
    assert reply.status == 502
    assert server.seen[0].header(b"accept-encoding") == b"identity"


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


async def test_an_event_stream_is_scrubbed_across_pieces_and_not_held_up(tmp_path: Path) -> None:
    """An event whose secret came in two writes leaves whole, before the next one is begun."""
    go = asyncio.Event()

    async def events(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        writer.write(b'data: {"x":"' + CANARY[:7].encode())
        await writer.drain()
        await go.wait()
        writer.write(CANARY[7:].encode() + b'"}\n\n')

    async with raw_server(events) as server:
        settings = upstream_settings(server.url, kind="bearer", value=secret_file(tmp_path))
        async with serving(settings) as upstream:
            reply = Recorder()
            exchange = upstream.open(call(), reply)
            await reply.until(lambda: reply.status is not None)
            assert reply.body == b""
            go.set()
            await reply.until(lambda: reply.body.endswith(b"\n\n"))
            assert reply.body == b'data: {"x":"' + MASK + b'"}\n\n'
            exchange.cancel()


async def test_a_large_answer_that_is_scrubbed_still_obeys_the_reader(tmp_path: Path) -> None:
    body = b'{"x":"' + b"y" * 3_000_000 + CANARY.encode() + b'"}'
    async with raw_server(says(response(b"Content-Type: application/json", body=body))) as server:
        settings = upstream_settings(server.url, kind="bearer", value=secret_file(tmp_path))
        async with serving(settings) as upstream:
            reply = Recorder(room=100_000)
            exchange = upstream.open(call(), reply)
            await reply.until(lambda: reply.room is not None and reply.room <= 0)
            assert len(reply.body) < 1_500_000
            reply.room = None
            exchange.resume()
            await reply.done()
    assert reply.body == body.replace(CANARY.encode(), MASK)
    assert reply.header(b"content-length") is None


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


async def test_guesses_that_are_answered_with_a_mask_raise_an_alarm(tmp_path: Path) -> None:
    """Row C15: one line a minute, an alarm at the tenth, and never the secret."""
    async with raw_server(echo) as server:
        settings = upstream_settings(server.url, kind="bearer", value=secret_file(tmp_path))
        with capture_logs() as logs:
            async with serving(settings) as upstream:
                for _ in range(12):
                    await asked(upstream)
                assert isinstance(upstream, GuardedUpstream)
                assert upstream.report()["scrub_hits"] == 12
                assert upstream.report()["alarm"] is True
    assert [line["log_level"] for line in logs] == ["warning", "error"]
    assert CANARY not in str(logs)


async def test_a_session_that_goes_on_guessing_is_locked_out_and_no_other(tmp_path: Path) -> None:
    """Row C15: nothing of it reaches the upstream any more, until the window ends."""
    async with raw_server(echo) as server:
        settings = upstream_settings(server.url, kind="bearer", value=secret_file(tmp_path))
        async with serving(settings) as upstream:
            assert isinstance(upstream, GuardedUpstream)
            while not upstream.hits.locked:
                assert (await asked(upstream)).status == 200
            assert upstream.report()["scrub_hits"] == LOCK_HITS
            before = len(server.seen)
            reply = await asked(upstream)
            assert (reply.status, len(server.seen)) == (503, before)
            assert reply.error()["data"]["delivery"] == "never_sent"
            assert upstream.report()["locked_out"] == 1
            assert (await asked(upstream, session="another")).status == 200


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


async def test_a_child_that_dumps_its_environment_shows_no_secret_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row C01: references are followed for the child, and what it tells is scrubbed."""
    program = tmp_path / "dump.py"
    program.write_text(
        "import json, os, sys\n"
        "for line in sys.stdin:\n"
        "    asked = json.loads(line)\n"
        "    if 'id' not in asked: continue\n"
        "    told = {'env': dict(os.environ), 'argv': sys.argv,\n"
        "            'raw': open('/proc/self/environ').read()}\n"
        "    told = {'jsonrpc': '2.0', 'id': asked['id'], 'result': told}\n"
        "    print(json.dumps(told), flush=True)\n"
    )
    settings = UpstreamSettings.model_validate(
        {
            "name": "dump",
            "command": [sys.executable, str(program)],
            "env": {"TOKEN": secret_file(tmp_path), "TZ": "UTC"},
        }
    )
    monkeypatch.setenv("OTHER_SECRET", "never-inherited-000")
    async with serving(settings, dict(os.environ)) as upstream:
        reply = Recorder()
        accepts = [(b"accept", b"application/json, text/event-stream")]
        upstream.open(call("initialize", headers=accepts, mcp_session="m" * 32), reply)
        await reply.done()
        assert b'"TZ"' in reply.body
        assert b"TOKEN" in reply.body
        assert CANARY.encode() not in reply.body
        assert reply.body.count(MASK) >= 2
        assert b"never-inherited" not in reply.body
        assert isinstance(upstream, GuardedUpstream)
        await eventually(lambda: upstream.report()["scrub_hits"] >= 2)
