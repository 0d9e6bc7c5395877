"""What comes back of a call through the relay is judged, and nothing that comes back breaks it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import pytest
from pydantic import SecretStr

from tests.tunnel_client.doctor.doctored import enrolled
from tunnel_client.dial import DialTarget
from tunnel_client.doctor.errors import CallFailedError
from tunnel_client.doctor.scene import Scene
from tunnel_client.doctor.through import call, judge_call, session_command
from tunnel_client.errors_connect import TokenRefusedError
from tunnel_client.errors_upstreams import UnknownUpstreamError
from tunnel_client.relay_url import RelayUrl

RESULT = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"protocolVersion": "2025-11-25"}})
REFUSED = json.dumps(
    {"jsonrpc": "2.0", "id": 1, "error": {"message": "no client", "data": {"origin": "relay"}}}
)


@pytest.mark.parametrize("body", [RESULT, f": hi\n\nevent: message\ndata: {RESULT}\n\n"])
def test_an_answer_passes_in_either_form(body: str) -> None:
    assert judge_call(200, body.encode(), "lab/x") == "initialize of lab/x answered: 2025-11-25"


def test_a_token_that_is_not_taken_is_told_from_one_for_elsewhere() -> None:
    with pytest.raises(TokenRefusedError):
        judge_call(401, b"", "lab/x")
    with pytest.raises(CallFailedError, match="404"):
        judge_call(404, b"{}", "lab/x")


@pytest.mark.parametrize("body", [b"", b"[]", b"[" * 50_000, b"\xff", REFUSED.encode()])
def test_anything_else_fails_with_its_status(body: bytes) -> None:
    with pytest.raises(CallFailedError, match="HTTP 503"):
        judge_call(503, body, "lab/x")


def test_the_command_for_a_session_holds_no_token() -> None:
    shown = session_command("lab", "x")
    assert "--server lab/x" in shown
    assert "mts_" not in shown


UPSTREAMS = "".join(
    f'[[upstream]]\nname = "{name}"\nurl = "http://127.0.0.1:1/mcp"\n' for name in ("files", "time")
)


@asynccontextmanager
async def calling(folder: Path, answer: bytes, heads: list[str]) -> AsyncIterator[Scene]:
    """Listen as a relay that gives `answer` to a POST and 405 to all else; keeps the heads."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        heads.append(head)
        late = b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n"
        writer.write(answer if head.startswith("POST") else late)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, AsyncExitStack() as stack:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        scene = Scene(enrolled(folder, url, upstreams=UPSTREAMS), {}, stack, {})
        scene.target, scene.token = DialTarget(RelayUrl.parse(url)), SecretStr("mts_x")
        yield scene


HEAD = f"Mcp-Session-Id: s-1\r\nContent-Length: {len(RESULT)}\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "fails"),
    [
        (f"HTTP/1.1 200 OK\r\n{HEAD}{RESULT}", None),
        (f"HTTP/1.1 200 OK\r\n{HEAD}{RESULT[:-9]}", "hung up"),
        (f"HTTP/1.1 200 OK\r\n{HEAD}{'x' * len(RESULT)}", "no MCP answer"),
    ],
)
async def test_the_mcp_session_that_began_is_ended_whatever_came_back(
    tmp_path: Path, answer: str, fails: str | None
) -> None:
    heads: list[str] = []
    with anyio.fail_after(30):
        async with calling(tmp_path, answer.encode(), heads) as scene:
            if fails is None:
                assert "2025-11-25" in await call(scene)
            else:
                with pytest.raises(CallFailedError, match=fails):
                    await call(scene)
    assert [head.split(" HTTP")[0] for head in heads] == [
        "POST /t/lab/files/mcp",
        "DELETE /t/lab/files/mcp",
    ]
    assert "\r\nMcp-Session-Id: s-1\r\n" in heads[1]
    assert "\r\nAuthorization: Bearer mts_x\r\n" in heads[1]


async def test_where_no_session_began_none_is_ended(tmp_path: Path) -> None:
    heads: list[str] = []
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(RESULT)}\r\n\r\n{RESULT}"
    with anyio.fail_after(30):
        async with calling(tmp_path, answer.encode(), heads) as scene:
            await call(scene)
    assert len(heads) == 1


async def test_a_server_that_is_not_there_is_not_taken_for_another(tmp_path: Path) -> None:
    heads: list[str] = []
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(RESULT)}\r\n\r\n{RESULT}"
    with anyio.fail_after(30):
        async with calling(tmp_path, answer.encode(), heads) as scene:
            scene.server = "fils"
            with pytest.raises(UnknownUpstreamError, match=r"fils; configured: files, time"):
                await call(scene)
            # Nor where the call would be skipped: nobody looks at a SKIP for a slip of the keys.
            scene.token = scene.daemon = None
            with pytest.raises(UnknownUpstreamError):
                await call(scene)
            assert heads == []
            scene.server, scene.token, scene.daemon = "time", SecretStr("mts_x"), {}
            assert "lab/time" in await call(scene)
    assert heads[0].startswith("POST /t/lab/time/mcp ")
