"""The pool against TLS, and against a real application on a real server."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from shared.errors import ResetCode
from tests.helpers.tls import Authority, old_tls
from tests.tunnel_client.upstream.http_support import (
    OK,
    RawServer,
    ask,
    call,
    eventually,
    pool,
    raw_server,
    says,
)
from tunnel_client.upstream.http import HttpUpstream
from tunnel_client.upstream.http_target import target_from


@asynccontextmanager
async def tls_pair(
    tmp_path: Path, *names: str, trusted: bool = True, expired: bool = False, old: bool = False
) -> AsyncIterator[tuple[HttpUpstream, RawServer]]:
    authority = Authority()
    ca = (authority if trusted else Authority()).write(tmp_path / "ca.pem")
    context = authority.server(*names, expired=expired)
    if old:
        old_tls(context)
    async with raw_server(says(OK), tls=context) as server:
        target = target_from(f"https://localhost:{server.port}/mcp", ca)
        async with pool(target) as upstream:
            yield upstream, server


async def test_tls_by_a_private_authority_works_and_is_reused(tmp_path: Path) -> None:
    async with tls_pair(tmp_path, "localhost") as (upstream, server):
        for _ in range(5):
            assert (await ask(upstream, call(body=b"x" * 300_000))).status == 200
        assert server.connections == 1
        assert server.seen[0].header(b"host") == b"localhost:%d" % server.port


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("localhost", {"trusted": False}),
        ("other.example", {}),
        ("localhost", {"expired": True}),
        ("localhost", {"old": True}),
    ],
)
async def test_tls_that_proves_nothing_gets_no_byte_of_the_request(
    tmp_path: Path, name: str, flags: dict[str, bool]
) -> None:
    async with tls_pair(tmp_path, name, **flags) as (upstream, server):
        reply = await ask(upstream)
        assert reply.failure is not None
        assert reply.failure[0] is ResetCode.UPSTREAM_UNREACHABLE
        assert server.seen == []


async def _mcp(request: Request) -> Response:
    if request.method == "GET":

        async def events() -> AsyncIterator[bytes]:
            for n in range(3):
                yield b"data: %d\n\n" % n

        return StreamingResponse(events(), media_type="text/event-stream")
    body = await request.body()
    names = sorted(set(request.headers) - {"host", "accept-encoding", "content-length"})
    return JSONResponse({"bytes": len(body), "names": names, "host": request.headers["host"]})


@asynccontextmanager
async def application(http: str) -> AsyncIterator[int]:
    app = Starlette(routes=[Route("/mcp", _mcp, methods=["GET", "POST", "DELETE"])])
    config = uvicorn.Config(app, http=http, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve(sockets=[listener]))
            await eventually(lambda: server.started)
            try:
                yield listener.getsockname()[1]
            finally:
                server.should_exit = True


@pytest.mark.parametrize("http", ["httptools", "h11"])
async def test_a_starlette_application_on_uvicorn(http: str) -> None:
    async with application(http) as port, pool(f"http://127.0.0.1:{port}/mcp") as upstream:
        for size in (0, 1, 1000, 4 << 20):
            reply = await ask(upstream, call(body=b"x" * size, headers=[(b"x-a", b"1")]))
            assert reply.status == 200
            assert b'"bytes":%d,' % size in reply.body
            assert b'"names":["x-a"]' in reply.body
            assert reply.names - {b"content-length"} == {b"content-type"}
        stream = await ask(upstream, call(http="GET"))
        assert stream.body == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
        assert len(upstream._connections) == 1
