"""Broken upstreams, pins and policies: the doctor names which, and what to do."""

import json
from pathlib import Path

import pytest

from tests.helpers.recording_upstream import recording_upstream
from tests.helpers.sandboxes import agree
from tests.helpers.tunnel import free_port
from tests.tunnel_client.doctor.doctored import Verdict, answering, enrolled, said, verdict
from tunnel_client import control
from tunnel_client.catalog.catalog import PINNING_OFF
from tunnel_client.doctor.errors import NothingPinnedError
from tunnel_client.doctor.upstreams import judge_pins
from tunnel_client.identity import StateLock
from tunnel_client.upstreams import guards_of

NOWHERE = "ws://127.0.0.1:9"
DENIES = """\
version: 1
rules:
  - {id: all, match: {method: "*"}, effect: allow}
  - {id: not-these, match: {server: files}, effect: deny}
"""
DENIES_SOME = """\
version: 1
rules:
  - {id: all, match: {method: "*", group: "staff"}, effect: allow}
  - {id: not-them, match: {server: files, user: "eve"}, effect: deny}
"""


async def looked(folder: Path, url: str, policy: str | None = None, more: str = "") -> Verdict:
    """Return what is said of an upstream called `files`; there is no relay."""
    table = f'[[upstream]]\nname = "files"\nurl = {json.dumps(url)}\n{more}'
    settings = enrolled(folder, NOWHERE, upstreams=table)
    if policy is not None:
        settings.policy.write_text(policy)
    return await verdict(settings)


def code(found: Verdict, name: str) -> str:
    fault = found.lines[name].fault
    return found.outcome(name) if fault is None else fault.code


async def test_an_upstream_that_is_down(tmp_path: Path) -> None:
    found = await looked(tmp_path, f"http://127.0.0.1:{free_port()}/mcp")
    assert code(found, "upstream files") == "MT2712"
    assert found.lines["policy files"].note == "needs: upstream files"
    assert found.broken == "tcp", "the relay is another matter"


async def test_a_program_is_not_started_beside_a_daemon_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "START_PATIENCE", 0.1)
    port = free_port()
    tables = (
        f'[[upstream]]\nname = "files"\nurl = "http://127.0.0.1:{port}/mcp"\n'
        '[[upstream]]\nname = "time"\ncommand = ["sh", "-c", "true"]\n'
    )
    settings = enrolled(tmp_path, NOWHERE, upstreams=tables)
    with StateLock(settings.state_dir):
        found = await verdict(settings)
    assert (found.broken, found.code) == ("daemon", "MT2107")
    assert found.lines["upstream time"].note == "needs: daemon"
    assert code(found, "upstream files") == "MT2712", "who can be asked all the same is"


@pytest.mark.parametrize("body", [b"<h1>hello</h1>", b'{"jsonrpc": "2.0"}', b""])
async def test_an_upstream_that_is_no_mcp_server(tmp_path: Path, body: bytes) -> None:
    async with answering(lambda _: said(200, body)) as port:
        found = await looked(tmp_path, f"http://127.0.0.1:{port}/mcp")
    assert code(found, "upstream files") == "MT2713"


async def test_an_upstream_that_there_is_no_credential_to_list_with(tmp_path: Path) -> None:
    """It may well speak MCP: what is missing is on this side, and is named."""
    async with recording_upstream() as upstream:
        origin = upstream.url.removesuffix("/mcp")
        table = f'kind = "bearer", origin = "{origin}", value = "file:{tmp_path}/{{user}}.token"'
        more = f'pinning = "off"\ncredential = {{ {table} }}\n'
        found = await looked(tmp_path, upstream.url, more=more)
        assert code(found, "upstream files") == "MT2523"
        fault = found.lines["upstream files"].fault
        assert fault is not None
        assert "lists_as" in fault.cause
        assert "lists_as" in fault.next
    assert upstream.seen == upstream.own == []


async def test_tools_that_nobody_pinned(tmp_path: Path) -> None:
    async with recording_upstream() as upstream:
        tool = {"name": "list_files", "inputSchema": {"type": "object"}}
        upstream.results["tools/list"] = {"tools": [tool]}
        found = await looked(tmp_path, upstream.url)
    assert code(found, "upstream files") == "MT2714"
    assert not [seen for seen in upstream.seen if b"tools/call" in seen.body], "no tool was called"


async def test_a_policy_that_denies_everything_of_an_upstream(tmp_path: Path) -> None:
    async with recording_upstream() as upstream:
        found = await looked(tmp_path, upstream.url, DENIES, 'pinning = "off"\n')
    assert code(found, "upstream files") == "PASS"
    assert code(found, "policy files") == "MT2715"
    assert "files" in found.lines["policy files"].text()


async def test_a_policy_that_denies_only_some(tmp_path: Path) -> None:
    async with recording_upstream() as upstream:
        found = await looked(tmp_path, upstream.url, DENIES_SOME, 'pinning = "off"\n')
    assert code(found, "policy files") == "PASS"


async def test_a_policy_that_is_broken(tmp_path: Path) -> None:
    async with recording_upstream() as upstream:
        found = await looked(tmp_path, upstream.url, "version: 1\nrulez: []\n", 'pinning = "off"\n')
    assert code(found, "policy file") == "MT2504"
    assert found.lines["policy files"].note == "needs: policy file"


async def test_a_program_that_nobody_agreed_to_is_not_started(tmp_path: Path) -> None:
    mark = tmp_path / "started"
    command = json.dumps(["/usr/bin/touch", str(mark)])
    table = f'[[upstream]]\nname = "files"\ncommand = {command}\n'
    found = await verdict(enrolled(tmp_path, NOWHERE, upstreams=table))
    assert code(found, "upstream files") == "MT2560"
    assert not mark.exists()


async def test_a_program_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path) -> None:
    command = json.dumps(["/bin/sh", "-c", "echo no key >&2; exit 3"])
    table = (
        f'[[upstream]]\nname = "files"\ncommand = {command}\n[upstream.sandbox]\nlevel = "off"\n'
    )
    settings = enrolled(tmp_path, NOWHERE, upstreams=table)
    environ = {"PATH": "/usr/bin:/bin"}
    agree(guards_of(settings).of(settings.upstream[0], environ), dangers=True)
    found = await verdict(settings, environ=environ)
    fault = found.lines["upstream files"].fault
    assert fault is not None
    assert "ended with status 3; it said last: no key" in fault.cause
    assert "tunnel-client upstream test files" in fault.next
    assert "url" not in fault.next


def test_pins_are_counted_and_none_at_all_is_a_fault() -> None:
    facts = {"pinning": "required", "pinned": 2, "new": 1, "changed": 1, "gone": 0}
    assert judge_pins("x", 4, facts) == (
        "4 tools: 2 pinned, 1 new, 1 changed, 0 gone; 2 quarantined"
    )
    with pytest.raises(NothingPinnedError, match="agents can call none"):
        judge_pins("x", 4, facts | {"pinned": 0})
    assert "PINNING IS OFF" in judge_pins("x", 4, facts | {"pinning": PINNING_OFF})
    assert judge_pins("x", 0, facts | {"pinned": 0, "new": 0, "changed": 0}).startswith("0 tools")
