"""A relay in other hands and a credential it never had: none of its tricks brings it out (T32).

The upstream echoes whatever it received into bodies, heads, errors and lists. All that the client
sends over its links is kept, and searched for the credential in every spelling.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from shared.errors import TooBigError
from shared.wire.codec import OpenHead, encode_open
from tests.helpers.agent import call, request
from tests.helpers.audit_log import records
from tests.helpers.recording_upstream import Seen
from tests.integration.policies import Desk, desk_upstream, tool
from tests.integration.scene import SERVER, eventually
from tests.integration.test_compromised_relay import SESSION, Taken, document, taken_over
from tests.shared.link.ends import Lane
from tunnel_client.credentials.scrub import MASK, Scrubber

CANARY = "cnry-Zq8x4Lm2Pw7Tf0Kd+/Vb=9"
SWEEP = Scrubber([CANARY])
ECHO = "rug_echo"
JSON = [(b"content-type", b"application/json"), (b"accept", b"application/json")]
pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]


def with_credential(desk: Desk) -> None:
    secret = desk.lab.folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text(CANARY)
    entry = f'name = "{SERVER}"\nurl = "{desk.upstream.url}"\n'
    origin = desk.upstream.url.removesuffix("/mcp")
    table = f'kind = "bearer", origin = "{origin}", value = "file:{secret}"'
    config = desk.lab.client_config
    assert entry in config.read_text()
    config.write_text(config.read_text().replace(entry, f"{entry}credential = {{ {table} }}\n"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def taken() -> AsyncIterator[Taken]:
    upstream = desk_upstream(tool(ECHO))
    upstream.driven.add(ECHO)
    async with taken_over(upstream, with_credential) as made:
        yield made


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_came_out(taken: Taken) -> AsyncIterator[None]:
    """After each test: not in a byte that any link carried, nor in what the client says of it."""
    if taken.link.lost:
        await taken.start()
    else:
        taken.grant()
    yield
    for link in taken.relay.links:
        assert not SWEEP.places(bytes(link.heard))
    assert not SWEEP.places(taken.said().encode())
    log = records(taken.desk.lab.folder / "client" / "state" / "audit")
    assert not SWEEP.places(json.dumps(log).encode())


async def opened(taken: Taken, head: OpenHead, body: bytes) -> Lane:
    lane = taken.link.request(encode_open(head), body)
    await eventually(lambda: lane.resets or lane.ended or taken.link.lost)
    return lane


def injected(taken: Taken) -> list[str]:
    return [value for seen in taken.desk.upstream.seen for value in seen.values("authorization")]


async def echoed(taken: Taken, case: str) -> tuple[Seen, asyncio.Task[Lane]]:
    """Make an allowed call; returns what the upstream got, and the call that waits."""
    asked = asyncio.create_task(taken.call(ECHO, case))
    seen = await taken.desk.upstream.arrived(case)
    assert seen.values("authorization") == [f"Bearer {CANARY}"]
    return seen, asked


SPELT = {
    "plain": CANARY,
    "base64": base64.b64encode(CANARY.encode()).decode(),
    "pair": base64.b64encode(f"user:{CANARY}".encode()).decode(),
    "hex": CANARY.encode().hex(),
    "escaped": "".join(f"\\u{ord(each):04x}" for each in CANARY),
}


@pytest.mark.parametrize("spelling", SPELT)
async def test_an_echo_of_an_allowed_call_comes_back_masked_t32(
    taken: Taken, spelling: str
) -> None:
    """T32, C02, C03: in the body, in a head that passes, and cut into events."""
    said = SPELT[spelling]
    seen, asked = await echoed(taken, f"body-{spelling}")
    body = b'{"jsonrpc":"2.0","id":1,"result":{"x":"%s"}}' % said.encode()
    await seen.answer(200, body, [("Content-Type", "application/json"), ("ETag", said)])
    assert MASK in bytes((await asked).body)
    seen, asked = await echoed(taken, f"events-{spelling}")
    await seen.event_stream()
    await seen.chunk(b'data: {"jsonrpc":"2.0","id":1,"result":{"x":"%s' % said.encode()[:9])
    await seen.chunk(b'%s"}}\n\n' % said.encode()[9:])
    await seen.end()
    assert MASK in bytes((await asked).body)


@pytest.mark.parametrize("status", [302, 401, 403, 500])
async def test_an_error_brings_nothing_t32(taken: Taken, status: int) -> None:
    """T32, C05, C06."""
    seen, asked = await echoed(taken, f"error-{status}")
    fields = [("Location", f"http://x/{CANARY}"), ("WWW-Authenticate", CANARY)]
    await seen.answer(status, f"<p>{CANARY}".encode(), fields)
    lane = await asked
    assert lane.ended or lane.resets


METHODS = ("GET", "PUT", "PATCH", "TRACE", "CONNECT", "OPTIONS", "POST http://127.0.0.1:1/ x")


@pytest.mark.parametrize("method", METHODS)
async def test_no_method_goes_elsewhere_with_it_t32(taken: Taken, method: str) -> None:
    """T32: TRACE echoes heads, CONNECT and an absolute target would choose the host."""
    before = len(taken.desk.upstream.seen)
    await opened(taken, OpenHead(SERVER, method, SESSION, "", JSON, ""), b"")
    for seen in taken.desk.upstream.seen[before:]:
        assert (seen.method, seen.target) == ("GET", "/mcp")


@pytest.mark.parametrize(
    "upstream", [f"{SERVER}@127.0.0.1", f"{SERVER}/../x", "http://127.0.0.1:1/", f"{SERVER}?x"]
)
async def test_no_name_goes_elsewhere_with_it_t33(taken: Taken, upstream: str) -> None:
    """T32, T33."""
    before = injected(taken)
    head = OpenHead(upstream, "POST", SESSION, "", JSON, "")
    await opened(taken, head, json.dumps(call(ECHO, case="name", modern=False)).encode())
    assert injected(taken) == before


HEADERS: list[tuple[bytes, bytes]] = [
    (b"host", b"127.0.0.1:1"),
    (b"connection", b"authorization"),
    (b"x-forwarded-host", b"127.0.0.1:1"),
    *((b"x-original-url", b"/x/admin"), (b"X_Rewrite_URL", b"/x/admin")),
    *((b"x-http-method-override", b"TRACE"), (b"remote-user", b"root"), (b"x-user", b"root")),
    (b"authorization", b"Bearer mine"),
    (b"Authorization", b"Bearer mine"),
    (b"accept-encoding", b"gzip"),
    (b"te", b"trailers"),
    (b"upgrade", b"h2c"),
    (b"transfer-encoding", b"chunked"),
    (b"x-a", b"application/json\r\nhost: 127.0.0.1:1"),
]


@pytest.mark.parametrize("header", HEADERS, ids=lambda each: each[0].decode())
async def test_no_header_sends_it_elsewhere_t32(taken: Taken, header: tuple[bytes, bytes]) -> None:
    """T32: what reaches the upstream carries our credential, our host, nothing of this."""
    before = len(taken.desk.upstream.seen)
    fields = [each for each in JSON if each[0] != header[0]] + [header]
    try:
        head = OpenHead(SERVER, "POST", SESSION, "", fields, "")
        await opened(taken, head, json.dumps(call("get_ticket", case="h", modern=False)).encode())
    except TooBigError:
        return  # it cannot even be written down
    for seen in taken.desk.upstream.seen[before:]:
        assert seen.values("authorization") == [f"Bearer {CANARY}"]
        assert seen.values("host") == [taken.desk.upstream.url.split("/")[2]]
        assert header[1].decode() not in str(seen.headers)


async def test_lists_and_introductions_bring_nothing_t32(taken: Taken) -> None:
    """T32, C13: nor what the client says of its tools by itself."""
    results = taken.desk.upstream.results
    before = results["tools/list"]
    shown: list[dict[str, Any]] = [tool(ECHO) | {"description": CANARY}, tool(CANARY[:16])]
    results["tools/list"] = {"tools": shown}
    try:
        lane = await taken.ask(request("tools/list", modern=False))
        assert document(lane)["result"]["tools"] == []
        await eventually(lambda: "shows its credential" in taken.said())
    finally:
        results["tools/list"] = before
    lane = await taken.ask(request("prompts/get", {"name": CANARY[:9]}, modern=False))
    assert "result" not in document(lane)
