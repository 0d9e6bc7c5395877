"""One question, one answer: whole, in pieces, as a stream, or none."""

import asyncio
import json
import time
from decimal import Decimal
from typing import Any

import anyio
import pytest

from shared.errors import ResetCode
from tests.helpers.consented import make_consented
from tests.helpers.shifty_server import shifty
from tunnel_client.errors_upstreams import UpstreamTestError
from tunnel_client.settings import UpstreamSettings
from tunnel_client.upstream_ask import Answer, ask, farewell, initialize, legacy, modern

TEXT = b'{"jsonrpc": "2.0", "id": 1, "result": {"n": 1.10}}'
EVENTS = [(b"content-type", b"text/event-stream")]
JSON = [(b"content-type", b"application/json")]


def outcome(answer: Answer) -> Any:
    if not answer.result.done():
        return None
    error = answer.result.exception()
    return str(error) if error else answer.result.result()


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_an_answer_is_read_in_any_pieces_and_numbers_stay_exact(size: int) -> None:
    stream = b': hi\r\n\r\ndata: {"method": "ping"}\r\n\r\ndata: ' + TEXT + b"\r\n\r\n"
    for headers, body in ((JSON, TEXT), (EVENTS, stream)):
        answer = Answer()
        answer.head(200, headers)
        for at in range(0, len(body), size):
            answer.data(body[at : at + size])
        answer.data(b"", end=True)
        assert outcome(answer)["result"] == {"n": Decimal("1.10")}


async def test_a_stream_is_not_waited_for_to_its_end() -> None:
    answer = Answer()
    answer.head(200, EVENTS)
    answer.data(b"data: " + TEXT + b"\n")
    assert outcome(answer) is not None


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b'{"a": 1}', b'{"result": 1, "result": 2}'])
async def test_what_is_no_answer_is_told(body: bytes) -> None:
    answer = Answer()
    answer.head(200, JSON)
    answer.data(body, end=True)
    assert "not as an MCP server" in outcome(answer)


async def test_more_than_the_limit_is_refused_and_let_go() -> None:
    answer = Answer(limit=10)
    answer.head(200, JSON)
    answer.data(b"x" * 11)
    assert "the answer is larger than 10 bytes" in outcome(answer)
    answer.data(b"x" * 11)
    answer.fail(ResetCode.UPSTREAM_BROKE, "late")


async def test_a_long_stream_of_other_lines_is_read_in_linear_time() -> None:
    answer = Answer(limit=64 * 1024 * 1024)
    answer.head(200, EVENTS)
    began = time.process_time()
    for _ in range(20_000):
        answer.data(b"data: {}\n" * 20)
    answer.data(b"data: " + TEXT + b"\n")
    assert outcome(answer) is not None
    assert time.process_time() - began < 10


async def test_a_message_without_an_answer_is_over_with_its_head() -> None:
    answer = Answer(wanted=False)
    answer.head(202, [])
    assert outcome(answer) == {}


async def test_asking_gives_up_in_time_and_cancels() -> None:
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
    upstream = make_consented(UpstreamSettings(name="x", url=url), {})
    await upstream.start()
    with anyio.fail_after(30):
        with pytest.raises(UpstreamTestError, match="no answer within 0 s"):
            await ask(upstream, modern("tools/list", "0" * 32), Answer(), 0.1)
        await upstream.aclose()
    server.close()


async def test_a_server_is_asked_for_one_thing() -> None:
    async with shifty(tools=[{"name": "a"}]) as server:
        upstream = make_consented(UpstreamSettings(name="x", url=server.url), {})
        await upstream.start()
        with anyio.fail_after(30):
            found = await ask(upstream, modern("tools/list", "0" * 32), Answer(), 10)
            await upstream.aclose()
    assert found["result"] == {"tools": [{"name": "a"}]}


def test_requests_are_those_of_their_era() -> None:
    new = modern("tools/list", "s", {"cursor": "c"})
    assert (b"mcp-method", b"tools/list") in new.headers
    params = json.loads(new.body)["params"]
    assert params["cursor"] == "c"
    assert "io.modelcontextprotocol/protocolVersion" in params["_meta"]
    assert initialize("s", "m").mcp_session == "m"
    old = legacy({"method": "notifications/initialized"}, "s", "m", "2025-06-18")
    assert (b"mcp-protocol-version", b"2025-06-18") in old.headers
    assert (old.mcp_session, old.envelope is not None) == ("m", True)
    assert farewell("s", "m", "2025-06-18").method == "DELETE"


def test_a_server_hears_that_we_can_do_all_so_that_it_hides_no_tool() -> None:
    """Tools that are offered only to able agents are there to be pinned, in either era."""
    new = json.loads(modern("tools/list", "s").body)["params"]["_meta"]
    old = json.loads(initialize("s", "m").body)["params"]
    for told in (new["io.modelcontextprotocol/clientCapabilities"], old["capabilities"]):
        assert set(told) == {"roots", "sampling", "elicitation"}
