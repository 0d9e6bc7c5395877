"""No answer of an upstream shows its credential, and who goes on guessing at it is locked out."""

import asyncio
import gzip
import os
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.tunnel_client.credentials.support import (
    CANARY,
    asked,
    echo,
    secret_file,
    serving,
    upstream_settings,
)
from tests.tunnel_client.upstream.http_support import (
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
from tunnel_client.settings import UpstreamSettings


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
