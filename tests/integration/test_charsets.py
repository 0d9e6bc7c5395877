"""A server of the kind most are, Express and the SDK, runs the tool that policy saw.

Express decodes a body by the charset of its Content-Type. In UTF-7 the same bytes of JSON name
another tool, so whoever may choose the charset chooses what runs.
"""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import anyio
import httpx2
import pytest
import pytest_asyncio

from shared.errors import ResetCode
from shared.grant import Grant
from shared.wire.codec import OpenHead, encode_open
from tests.helpers import node_packages
from tests.helpers.raw_relay import raw_relay
from tests.helpers.tunnel import TUNNEL, HttpUpstream, end, make_lab
from tests.integration.scene import SERVER, eventually, grant
from tests.shared.link.ends import Lane
from tunnel_relay.keyfiles import read_relay_key

pytestmark = [
    pytest.mark.system,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(
        not (node_packages.NODE_DIR / "node_modules" / ".installed").is_file(),
        reason="NODE PACKAGES ARE MISSING: run python -m tests.helpers.node_packages tests/node",
    ),
]
SESSION = "0123456789abcdef" * 2
PLAIN = "application/json"
HIDDEN = base64.b64encode('"},"name":"purge","x":{"y":"'.encode("utf-16-be")).decode().rstrip("=")
BODY = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "get_ticket", "arguments": {"note": f"+{HIDDEN}-"}},
    },
    separators=(",", ":"),
).encode()
KINDS = [
    *("application/json; charset=utf-7", 'application/json;charset="UTF-7"'),
    *("application/json; charset=utf-8; charset=utf-7", "application/json; charset = utf-7"),
    *("application/json; x=1; charset=utf-7", "application/json; charset=unicode-1-1-utf-7"),
]


@dataclass
class Express:
    """The server; `ran` is what it printed: the name of each tool that ran."""

    url: str
    output: asyncio.StreamReader

    async def ran(self) -> str:
        """Return the next tool that ran."""
        with anyio.fail_after(20):
            return (await self.output.readline()).decode().strip()

    async def direct(self, kind: str) -> int:
        """Send the body without a tunnel; returns the status."""
        headers = {"Content-Type": kind, "Accept": "application/json, text/event-stream"}
        async with httpx2.AsyncClient(trust_env=False) as http:
            return (await http.post(self.url, content=BODY, headers=headers)).status_code


@asynccontextmanager
async def express() -> AsyncIterator[Express]:
    process = await asyncio.create_subprocess_exec(
        *(str(node_packages.node()), str(node_packages.NODE_DIR / "express_server.mjs")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        with anyio.fail_after(20):
            port = int(await process.stdout.readline())
        yield Express(f"http://127.0.0.1:{port}/mcp", process.stdout)
    finally:
        await end(process)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Express]:
    async with express() as serving:
        yield serving


async def test_without_a_tunnel_the_charset_chooses_the_tool(server: Express) -> None:
    """What all this is about: without it the tests below would show nothing."""
    assert await server.direct(PLAIN) == 200
    assert await server.ran() == "get_ticket"
    assert await server.direct(KINDS[0]) == 200
    assert await server.ran() == "purge"


async def test_through_the_tunnel_it_does_not(server: Express) -> None:
    """An agent says it, and the relay refuses."""
    async with make_lab({SERVER: HttpUpstream(server.url)}) as lab:
        agent = (await grant(lab)).agent
        for kind in KINDS:
            assert (await agent.ask(BODY, headers=[("Content-Type", kind)])).status == 415, kind
        for kind in (PLAIN, "application/json; charset=utf-8"):
            reply = await agent.ask(BODY, headers=[("Content-Type", kind)])
            assert reply.document["result"]["content"][0]["text"] == "get_ticket"
            assert await server.ran() == "get_ticket"  # the first that ran: nothing did before


def ended(lane: Lane) -> bool:
    return bool(lane.resets) or lane.ended


async def test_a_relay_in_other_hands_does_not_choose_it_either(server: Express) -> None:
    """T32: a relay that was taken over says it, and the client refuses."""
    async with make_lab({SERVER: HttpUpstream(server.url)}, start=False) as lab:
        key = read_relay_key(lab.folder / "relay" / "state" / "relay.key")
        async with raw_relay(key, lab.folder / "client" / "state") as relay:
            lab.environment["TUNNEL_CLIENT_RELAY__URL"] = f"ws://127.0.0.1:{relay.port}"
            lab.client = await lab._start("tunnel-client", "run", lab.client_config, "client.log")
            link, now = await relay.linked(), time.time()
            made = Grant(
                *(SESSION, "ada", "test", TUNNEL, SERVER, (), (), now, now + 600),
                *(link.instance, link.epoch),
            )
            link.driver.grant(link.signed(made))
            for kind in [*KINDS, PLAIN]:
                fields = [(b"content-type", kind.encode()), (b"accept", b"application/json")]
                fields.append((b"accept", b"text/event-stream"))
                head = encode_open(OpenHead(SERVER, "POST", SESSION, "", fields, ""))
                lane = link.request(head, BODY)
                await eventually(partial(ended, lane))
                if kind != PLAIN:
                    assert [code for code, _ in lane.resets] == [ResetCode.REFUSED], kind
            assert await server.ran() == "get_ticket"
