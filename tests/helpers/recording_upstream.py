"""A private MCP server that writes down every request and answers as the test tells it.

`tools/call` names the answer: `echo`, `headers`, `big`, `status`, or `driven`, where the test sends
head and body itself, through the recorded `Seen`. What else a server owes is answered plainly, or
as `results` says.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httptools

DEADLINE = 20.0
UPSTREAM_SESSION = "upstream-own-session-"
"""How the MCP session ids of this server begin: they must never reach an agent."""
CLIENT = "tunnel-client"
"""What the client calls itself when it asks something in its own name."""
Fields = Iterable[tuple[str, str]]


class Seen:
    """One request as it arrived, and the way to answer it."""

    def __init__(self, connection: "_Connection", method: str, target: str) -> None:
        self.method = method
        self.target = target
        self.headers: list[tuple[str, str]] = []
        self.body = b""
        self.answered = asyncio.Event()
        self.closed = connection.closed
        self._connection = connection
        self._chunked = False

    def values(self, name: str) -> list[str]:
        """Return the values of one header, name in lower case."""
        return [value for key, value in self.headers if key == name]

    @property
    def document(self) -> dict[str, Any]:
        """The JSON of the body; empty when there is none."""
        found = json.loads(self.body) if self.body else {}
        return found if isinstance(found, dict) else {}

    @property
    def case(self) -> str | None:
        """The `case` argument, by which a test knows its own calls."""
        params = self.document.get("params", {})
        return params.get("arguments", {}).get("case") if isinstance(params, dict) else None

    async def head(self, status: int, headers: Fields = (), length: int | None = None) -> None:
        """Send a response head; chunked unless a length is given."""
        lines = [f"HTTP/1.1 {status} Said"]
        lines += [f"{name}: {value}" for name, value in headers]
        self._chunked = length is None and status != 204
        if self._chunked:
            lines.append("Transfer-Encoding: chunked")
        elif status != 204:
            lines.append(f"Content-Length: {length}")
        await self._connection.send("\r\n".join([*lines, "", ""]).encode())

    async def chunk(self, data: bytes) -> None:
        """Send body bytes."""
        framed = b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data
        await self._connection.send(framed)

    async def end(self) -> None:
        """Say that the answer is whole."""
        if self._chunked:
            await self._connection.send(b"0\r\n\r\n")
        self.answered.set()

    async def answer(
        self, status: int = 200, body: bytes = b"", headers: Fields = (), chunked: bool = False
    ) -> None:
        """Send a whole answer."""
        await self.head(status, headers, None if chunked else len(body))
        if body:
            await self.chunk(body)
        await self.end()

    async def result(self, result: Any, headers: Fields = ()) -> None:
        """Answer a request with a JSON-RPC result."""
        document = {"jsonrpc": "2.0", "id": self.document["id"], "result": result}
        headers = [("Content-Type", "application/json"), *headers]
        await self.answer(200, json.dumps(document).encode(), headers)

    async def event_stream(self) -> None:
        """Begin an event stream."""
        await self.head(200, [("Content-Type", "text/event-stream")])

    async def event(self, document: Any) -> None:
        """Send one event."""
        await self.chunk(b"event: message\ndata: " + json.dumps(document).encode() + b"\n\n")

    async def raw(self, data: bytes) -> None:
        """Send bytes as they are, and hang up."""
        await self._connection.send(data)
        self._connection.transport.close()

    def cut(self) -> None:
        """Break the connection."""
        self._connection.transport.abort()


class RecordingUpstream:
    """What one server has seen so far, oldest first."""

    def __init__(self) -> None:
        self.port = 0
        self.seen: list[Seen] = []
        """What agents asked."""
        self.own: list[Seen] = []
        """What the client asked in its own name: it lists every server now and then."""
        self.sessions: set[str] = set()
        self.own_sessions: set[str] = set()
        self.connections: set[_Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.begun = 0
        self.stateful = True
        self.results: dict[str, dict[str, Any]] = {"tools/list": {"tools": []}}
        """By method, what is answered to it; nothing much to those that are not here."""
        self.hold: set[str] = set()
        """Methods that the test answers itself."""
        self.driven: set[str] = {"driven"}
        """Tools whose calls it answers itself."""

    @property
    def url(self) -> str:
        """Where the client reaches it."""
        return f"http://127.0.0.1:{self.port}/mcp"

    def calls(self, case: str) -> list[Seen]:
        """Return the requests of one test."""
        return [seen for seen in self.seen if seen.case == case]

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until something this server sees makes `condition` true."""
        with anyio.fail_after(DEADLINE):
            while not condition():  # noqa: ASYNC110 - what other processes did has no event
                await asyncio.sleep(0.005)

    async def arrived(self, case: str, count: int = 1) -> Seen:
        """Wait for the request of a test and return the newest."""
        await self.until(lambda: len(self.calls(case)) >= count)
        return self.calls(case)[-1]

    async def streams(self, count: int = 1) -> list[Seen]:
        """Wait for GET requests and return them all."""
        await self.until(lambda: len(self._gets()) >= count)
        return self._gets()

    def _gets(self) -> list[Seen]:
        return [seen for seen in self.seen if seen.method == "GET"]

    def is_own(self, seen: Seen) -> bool:
        """Tell whether the client asks that in its own name."""
        if any(name in self.own_sessions for name in seen.values("mcp-session-id")):
            return True
        params = seen.document.get("params")
        meta = params.get("_meta") if isinstance(params, dict) else None
        told = [(params, "clientInfo"), (meta, "io.modelcontextprotocol/clientInfo")]
        found = [where.get(key) for where, key in told if isinstance(where, dict)]
        return any(isinstance(each, dict) and each.get("name") == CLIENT for each in found)

    async def serve(self, seen: Seen) -> None:
        """Answer one request."""
        document = seen.document
        held = seen.values("mcp-session-id")
        if held and held[0] not in self.sessions | self.own_sessions:
            await seen.answer(404, b"no such MCP session")
        elif seen.method == "DELETE":
            for sessions in (self.sessions, self.own_sessions):
                sessions.discard(held[0] if held else "")
            await seen.answer(204)
        elif seen.method == "GET":
            if not held:
                await seen.answer(405, b"no stream without an MCP session", [("Allow", "POST")])
        elif "id" not in document or "method" not in document:
            await seen.answer(202)
        elif document["method"] == "initialize":
            await self._initialize(seen)
        elif document["method"] == "tools/call":
            await self._call(seen, document["params"])
        elif document["method"] not in self.hold:
            await seen.result(self.results.get(document["method"], {}))

    async def _initialize(self, seen: Seen) -> None:
        headers = []
        if self.stateful:
            self.begun += 1
            name = f"{UPSTREAM_SESSION}{self.begun}"
            (self.own_sessions if self.is_own(seen) else self.sessions).add(name)
            headers = [("Mcp-Session-Id", name)]
        told = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}}
        await seen.result(told | {"serverInfo": {"name": "recorder", "version": "1"}}, headers)

    async def _call(self, seen: Seen, params: dict[str, Any]) -> None:
        name, arguments = params["name"], params.get("arguments", {})
        if name == "headers":
            await seen.result({"headers": seen.headers})
        elif name == "big":
            body = big_body(seen.document["id"], arguments["bytes"])
            headers = [("Content-Type", "application/json")]
            await seen.answer(200, body, headers, chunked=arguments.get("chunked", False))
        elif name == "status":
            await seen.answer(arguments["status"], arguments["body"].encode(), [("X-Kept", "yes")])
        elif name not in self.driven:
            await seen.result({"content": [{"type": "text", "text": json.dumps(arguments)}]})


def big_body(message_id: Any, size: int) -> bytes:
    """Return a JSON-RPC result of exactly `size` bytes; every KiB of it is numbered."""
    start = b'{"jsonrpc":"2.0","id":%b,"result":{"x":"' % json.dumps(message_id).encode()
    length = size - len(start) - 3
    filler = b"".join(b"%01024x" % at for at in range(length // 1024 + 1))
    return start + filler[:length] + b'"}}'


class _Connection(asyncio.Protocol):
    """One connection of the client."""

    transport: asyncio.Transport

    def __init__(self, server: RecordingUpstream) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._fields: list[tuple[str, str]] = []
        self._body = b""
        self._writable = asyncio.Event()
        self._writable.set()
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._writable.set()
        self.closed.set()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def send(self, data: bytes) -> None:
        """Write and wait while the peer does not read; silent once the peer is gone."""
        if not self.transport.is_closing():
            self.transport.write(data)
            await self._writable.wait()

    # httptools

    def on_message_begin(self) -> None:
        self._url, self._fields, self._body = b"", [], b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        seen = Seen(self, self._parser.get_method().decode(), self._url.decode())
        seen.headers, seen.body = self._fields, self._body
        (self._server.own if self._server.is_own(seen) else self._server.seen).append(seen)
        task = asyncio.get_running_loop().create_task(self._server.serve(seen))
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)


@asynccontextmanager
async def recording_upstream(
    state: RecordingUpstream | None = None,
) -> AsyncIterator[RecordingUpstream]:
    """Serve on loopback until the block ends."""
    serving = state or RecordingUpstream()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(serving), "127.0.0.1", 0)
    serving.port = server.sockets[0].getsockname()[1]
    try:
        yield serving
    finally:
        server.close()
        for connection in list(serving.connections):
            connection.transport.abort()
        for task in serving.tasks:
            task.cancel()
        await asyncio.gather(*serving.tasks, return_exceptions=True)
        await serving.until(lambda: not serving.connections)
        await server.wait_closed()
