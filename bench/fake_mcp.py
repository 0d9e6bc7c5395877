"""A trivially cheap MCP server over HTTP or stdio: what is measured is what stands before it.

    python -m bench.fake_mcp --port PORT      Streamable HTTP on loopback, legacy and stateless
    python -m bench.fake_mcp --stdio          JSON lines

Tools: `echo(text)`, `blob(size)` (that many bytes of text) and `ticks(n, ms)`: n progress events,
one each `ms` milliseconds, each with the monotonic clock's nanoseconds at which it was sent. A GET
opens an SSE stream that stays idle.
"""

import asyncio
import functools
import json
import sys
import time
from typing import Any, cast

import click
import httptools
import uvloop

SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
TOOLS = [
    {
        "name": name,
        "description": name,
        "inputSchema": {
            "type": "object",
            "properties": {key: {"type": kind} for key, kind in arguments.items()},
        },
    }
    for name, arguments in (
        ("echo", {"text": "string"}),
        ("blob", {"size": "integer"}),
        ("ticks", {"n": "integer", "ms": "integer"}),
    )
]
BLOB_PATTERN = b"0123456789abcdef"
MAX_BLOB = 64 << 20


@functools.lru_cache(maxsize=4)
def blob_text(size: int) -> bytes:
    """`size` characters that are easy to make again and need no escape in JSON."""
    return (BLOB_PATTERN * (size // len(BLOB_PATTERN) + 1))[:size]


def dumps(message: object) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def text_result(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "isError": False}


def answer(message: dict[str, Any]) -> bytes | None:
    """The JSON-RPC answer to a request; None for a notification."""
    if "id" not in message:
        return None
    method = message.get("method")
    params: dict[str, Any] = message.get("params") or {}
    arguments = params.get("arguments") or {}
    result: dict[str, Any]
    if method == "tools/call" and params.get("name") == "blob":
        size = min(int(arguments["size"]), MAX_BLOB)
        # Escaping 16 MiB anew for each call would measure the JSON encoder; the pattern needs none.
        shell = dumps({"jsonrpc": "2.0", "id": message["id"], "result": text_result("@")})
        return shell.replace(b'"@"', b'"%b"' % blob_text(size), 1)
    if method == "tools/call":
        result = text_result(str(arguments.get("text", "")))
    elif method == "initialize":
        result = {
            "protocolVersion": params.get("protocolVersion", "2025-06-18"),
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "bench", "version": "1"},
        }
    elif method == "tools/list":
        result = {"tools": TOOLS}
    elif method == "ping":
        result = {}
    else:
        error = {"code": -32601, "message": "Method not found"}
        return dumps({"jsonrpc": "2.0", "id": message["id"], "error": error})
    return dumps({"jsonrpc": "2.0", "id": message["id"], "result": result})


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection; answers in order, one request at a time."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._body = bytearray()
        self._transport: asyncio.Transport | None = None
        self._ticking: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods but not the base class.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._ticking is not None:
            self._ticking.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if self._transport is not None:
                self._transport.close()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._transport is None:
            return
        body, self._body = bytes(self._body), bytearray()
        method = self._parser.get_method()
        if method == b"GET":
            self._transport.write(SSE_HEAD + b"6\r\n:ok\n\n\n\r\n")
            return
        if method == b"DELETE":
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            return
        message = json.loads(body)
        if (message.get("params") or {}).get("name") == "ticks":
            self._ticking = asyncio.create_task(self._ticks(message))
            return
        reply = answer(message)
        if reply is None:
            self._transport.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
            return
        self._transport.writelines(
            [
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                % len(reply),
                reply,
            ]
        )

    async def _ticks(self, message: dict[str, Any]) -> None:
        arguments = message["params"].get("arguments") or {}
        count, pause = int(arguments.get("n", 10)), float(arguments.get("ms", 0)) / 1000
        token = (message["params"].get("_meta") or {}).get("progressToken", 1)
        transport = self._transport
        if transport is None:
            return
        transport.write(SSE_HEAD)
        for number in range(count):
            # The first event waits too: a hop that holds the head back for it is then seen to.
            if pause or number % 64 == 0:
                await asyncio.sleep(pause)
            params = {
                "progressToken": token,
                "progress": number,
                "message": str(time.monotonic_ns()),
            }
            self._event(
                transport,
                {"jsonrpc": "2.0", "method": "notifications/progress", "params": params},
            )
        final = {"jsonrpc": "2.0", "id": message["id"], "result": text_result("done")}
        self._event(transport, final)
        transport.write(b"0\r\n\r\n")

    @staticmethod
    def _event(transport: asyncio.Transport, message: dict[str, Any]) -> None:
        event = b"event: message\ndata: %b\n\n" % dumps(message)
        transport.write(b"%x\r\n%b\r\n" % (len(event), event))


def serve_stdio() -> None:
    """Answer JSON lines until the input ends."""
    for line in sys.stdin.buffer:
        reply = answer(json.loads(line)) if line.strip() else None
        if reply is not None:
            sys.stdout.buffer.write(reply + b"\n")
            sys.stdout.buffer.flush()


async def serve_http(port: int) -> None:
    """Serve on loopback until cancelled."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


@click.command()
@click.option("--port", type=int)
@click.option("--stdio", is_flag=True)
def main(port: int | None, stdio: bool) -> None:
    if stdio:
        serve_stdio()
    elif port is None:
        raise click.UsageError("--port or --stdio")
    else:
        uvloop.run(serve_http(port))


if __name__ == "__main__":
    main()
