"""An HTTP server in front of one Upstream, so that HTTP peers can be pointed straight at it.

It does what the relay and the client's gate do around an upstream and no more: reads the body,
parses the envelope strictly, mints an MCP session id for `initialize`, and passes the answer on.
"""

import argparse
import asyncio
import logging
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn

from shared.errors import ResetCode
from shared.ids import new_id
from shared.jsonrpc.envelope import Envelope, EnvelopeError, error_body, parse
from tunnel_client.upstream.base import Exchange, Headers, Upstream, UpstreamRequest
from tunnel_client.upstream.stdio import StdioUpstream
from tunnel_client.upstream.stdio_command import StdioCommand

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

HOST = "127.0.0.1"
SESSION_HEADER = b"mcp-session-id"
USER_HEADER = b"x-test-session"
"""Which session of the relay a request belongs to; one and the same when absent."""
_HIGH_WATER = 256 * 1024
_DROPPED = {b"host", b"origin", b"connection", b"content-length", SESSION_HEADER, USER_HEADER}


class QueuedReply:
    """A Reply whose parts an ASGI task sends in order."""

    def __init__(self) -> None:
        self._parts: deque[MutableMapping[str, Any]] = deque()
        self._ready = asyncio.Event()
        self._size = 0
        self._over = False
        self.begun = False
        self.failed: ResetCode | None = None
        self.exchange: Exchange | None = None

    def head(self, status: int, headers: Headers, end: bool = False) -> None:
        if not self._over:
            self.begun = True
            self._put({"type": "http.response.start", "status": status, "headers": headers})
            if end:
                self.data(b"", end=True)

    def data(self, chunk: bytes, end: bool = False) -> bool:
        if not self._over:
            self._over = end
            self._size += len(chunk)
            self._put({"type": "http.response.body", "body": chunk, "more_body": not end})
        return self._size < _HIGH_WATER

    def fail(self, code: ResetCode, detail: str) -> None:
        if self._over:
            return
        self.failed = code
        if not self.begun:
            self.head(502, [(b"content-type", b"application/json")])
            self.data(error_body(None, -31000 - code, f"{code.name}: {detail}"))
        self.data(b"", end=True)

    def _put(self, part: MutableMapping[str, Any]) -> None:
        self._parts.append(part)
        self._ready.set()

    async def parts(self) -> AsyncIterator[MutableMapping[str, Any]]:
        while True:
            while not self._parts:
                self._ready.clear()
                await self._ready.wait()
            part = self._parts.popleft()
            self._size -= len(part.get("body", b""))
            yield part
            if self._size < _HIGH_WATER and self.exchange is not None:
                self.exchange.resume()
            if part.get("more_body") is False:
                return


class UpstreamFront:
    """The ASGI application."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        headers: Headers = scope["headers"]
        body = await _body(receive)
        refused = _refused_origin(headers)
        if refused is not None:
            await _answer(send, refused, b"")
            return
        try:
            envelope = parse(body) if scope["method"] == "POST" else None
        except EnvelopeError as error:
            await _answer(send, error.status, error.body())
            return
        reply = QueuedReply()
        request = _request(scope["method"], headers, body, envelope)
        reply.exchange = exchange = self._upstream.open(request, reply)
        watch = asyncio.create_task(_watch(receive, exchange))
        try:
            async for part in reply.parts():
                await send(part)
        finally:
            watch.cancel()
            exchange.cancel()


def _request(
    method: str, headers: Headers, body: bytes, envelope: Envelope | None
) -> UpstreamRequest:
    named = dict(headers)
    mcp_session = named.get(SESSION_HEADER, b"").decode() or None
    if envelope is not None and envelope.method == "initialize":
        mcp_session = new_id()
    kept = [(name, value) for name, value in headers if name not in _DROPPED]
    user = named.get(USER_HEADER, b"5e551011").decode()
    return UpstreamRequest(method, kept, body, envelope, user, mcp_session)


async def _body(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


async def _watch(receive: Receive, exchange: Exchange) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    exchange.cancel()


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _refused_origin(headers: Headers) -> int | None:
    named = dict(headers)
    host = named.get(b"host", b"").decode().rpartition(":")[0]
    if host not in (HOST, "localhost"):
        return 421
    origin = named.get(b"origin", b"").decode()
    known = (f"http://{HOST}:", "http://localhost:")
    return 403 if origin and not origin.startswith(known) else None


@asynccontextmanager
async def served(upstream: Upstream, ended: asyncio.Event | None = None) -> AsyncIterator[str]:
    """Serve a started upstream; gives the URL. `ended` is set when a signal ends the server."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen(128)
        config = uvicorn.Config(
            UpstreamFront(upstream),
            http="h11",
            log_level="warning",
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        if ended is not None:
            serving.add_done_callback(lambda _: ended.set())
        try:
            yield f"http://{HOST}:{listener.getsockname()[1]}/mcp"
        finally:
            server.should_exit = True
            await serving


async def _main(argv: list[str], cwd: str | None) -> None:
    upstream = StdioUpstream("front", StdioCommand(tuple(argv), cwd=cwd))
    await upstream.start()
    ended = asyncio.Event()
    try:
        async with served(upstream, ended) as url:
            print(url, flush=True)  # noqa: T201
            await ended.wait()
    finally:
        await upstream.aclose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serve a stdio MCP server over HTTP.")
    parser.add_argument("command", nargs="+")
    logging.basicConfig(level=logging.WARNING)
    with suppress(KeyboardInterrupt):
        asyncio.run(_main(parser.parse_args().command, str(Path.cwd())))
