"""Nobody makes our programs look at the network for them (rows R06 and R13)."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from tests.helpers.agent import Reply, call
from tests.helpers.recording_upstream import RecordingUpstream, recording_upstream
from tests.helpers.tunnel import HttpUpstream, Lab, make_lab
from tests.integration.scene import SERVER, grant

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

POLICY = """\
version: 1
rules:
  - {id: all, match: {method: "*"}, effect: allow}
  - id: only-public-urls
    match: {tool: fetch}
    when: '!args.url.startsWith("https://public.example/")'
    effect: deny
"""
UNREACHABLE = ("closed", "metadata", "missing")
BROKEN = ("garbage", "hangs-up", "ssh")
SAYS = {"garbage": b"\x00\xff\r\n\r\n", "hangs-up": b"", "ssh": b"SSH-2.0-OpenSSH_9.6\r\n"}


@dataclass
class Scan:
    """A lab with upstreams that answer, that are not there, and that speak something else."""

    lab: Lab
    upstream: RecordingUpstream
    listener: str
    heard: list[bytes]

    async def ask(self, upstream: str, tool: str, **arguments: Any) -> Reply:
        made = await grant(self.lab, upstream)
        return await made.agent.ask(call(tool, **arguments))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scan() -> AsyncIterator[Scan]:
    heard: list[bytes] = []

    async def says(text: bytes) -> asyncio.Server:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(await reader.read(1) if text != b"listen" else b"connected")
            writer.write(text)
            writer.close()

        return await asyncio.start_server(serve, "127.0.0.1", 0)

    servers = {name: await says(text) for name, text in {**SAYS, "listen": b"listen"}.items()}
    urls = {
        name: f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
        for name, server in servers.items()
    }

    def prepare(lab: Lab) -> None:
        lab.policy = POLICY

    async with recording_upstream() as upstream:
        targets = {SERVER: HttpUpstream(upstream.url)}
        targets |= {name: HttpUpstream(urls[name]) for name in BROKEN}
        targets["closed"] = HttpUpstream("http://127.0.0.1:1/mcp")
        targets["metadata"] = HttpUpstream("http://169.254.169.254/mcp")
        targets["missing"] = HttpUpstream("unix:/nowhere/at/all.sock:/mcp")
        async with make_lab(targets, prepare=prepare) as lab:
            yield Scan(lab, upstream, urls["listen"], heard)
    for server in servers.values():
        server.close()


async def test_a_url_in_arguments_is_passed_on_and_never_fetched(scan: Scan) -> None:
    """R06: not by us; what the server does with it is for its own rules."""
    reply = await scan.ask(SERVER, "echo", url=scan.listener, case="r06")
    assert "result" in reply.document
    assert len(scan.upstream.calls("r06")) == 1
    assert b"connected" not in scan.heard


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/x", "http://169.254.169.254/", "file:///etc/passwd", "HTTPS://a/"]
)
async def test_a_rule_on_a_url_denies_what_it_does_not_name(scan: Scan, url: str) -> None:
    """R06."""
    reply = await scan.ask(SERVER, "fetch", url=url, case="r06-rule")
    assert reply.document["result"]["isError"] is True
    assert not scan.upstream.calls("r06-rule")
    good = await scan.ask(SERVER, "fetch", url="https://public.example/x", case=f"good-{url}")
    assert "isError" not in good.document["result"]


@pytest.mark.parametrize("group", [UNREACHABLE, BROKEN])
async def test_what_is_behind_a_name_shows_in_no_answer(scan: Scan, group: tuple[str, ...]) -> None:
    """R13: a closed port, a host that is refused and a path that is missing look alike."""
    replies = [await scan.ask(name, "echo", case="r13") for name in group]
    said = {(reply.status, reply.body) for reply in replies}
    assert len(said) == 1, said
    ((status, body),) = said
    assert status in (502, 503)
    for word in (b"127.0.0.1", b"169.254", b"nowhere", b"refused", b"SSH", b"errno", b"Errno"):
        assert word not in body
