"""Real servers that misbehave on purpose, and a reply that writes down what it was told."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from shared.errors import ResetCode
from shared.jsonrpc.envelope import parse
from tunnel_client.upstream.base import Exchange, Headers, UpstreamRequest
from tunnel_client.upstream.http import HttpUpstream, Inject
from tunnel_client.upstream.http_target import HttpLimits, HttpTarget, target_from

DEADLINE = 10.0
SESSION = "5e55104a"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Recorder:
    """A reply that keeps what it was told; takes data until `room` bytes, then asks to pause."""

    def __init__(self, room: int | None = None) -> None:
        self.status: int | None = None
        self.headers: Headers = []
        self.chunks: list[bytes] = []
        self.failure: tuple[ResetCode, str] | None = None
        self.ended = False
        self.room = room
        self.told: list[str] = []
        self._changed = asyncio.Event()

    def head(self, status: int, headers: Headers, end: bool = False) -> None:
        self._note("head", end)
        assert self.status is None
        self.status, self.headers = status, headers

    def data(self, chunk: bytes, end: bool = False) -> bool:
        self._note("data", end)
        assert self.status is not None
        self.chunks.append(chunk)
        if self.room is None:
            return True
        self.room -= len(chunk)
        return self.room > 0

    def fail(self, code: ResetCode, detail: str) -> None:
        self._note("fail", True)
        self.failure = (code, detail)

    def _note(self, what: str, end: bool) -> None:
        assert not self.ended, f"{what} after the end"
        self.told.append(what)
        self.ended = end
        self._changed.set()

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def names(self) -> set[bytes]:
        return {name for name, _ in self.headers}

    def header(self, name: bytes) -> bytes | None:
        return dict(self.headers).get(name)

    def error(self) -> dict[str, Any]:
        """Return the JSON-RPC error object that was answered, with the id beside it."""
        document = json.loads(self.body)
        assert document["jsonrpc"] == "2.0"
        return {"id": document["id"], **document["error"]}

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what was told makes `condition` true."""
        with anyio.fail_after(DEADLINE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def done(self) -> "Recorder":
        await self.until(lambda: self.ended)
        return self


@dataclass
class Seen:
    """One request as a server read it."""

    start: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    raw: bytes
    connection: int

    @property
    def names(self) -> list[bytes]:
        return [name.lower() for name, _ in self.headers]

    def header(self, name: bytes) -> bytes | None:
        found = [value for key, value in self.headers if key.lower() == name]
        assert len(found) < 2, f"{name!r} came twice"
        return found[0] if found else None


Answer = Callable[["Seen", asyncio.StreamWriter], Awaitable[None]]


@dataclass
class RawServer:
    """What one server has seen so far."""

    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    @property
    def open(self) -> int:
        """Return how many connections are open now."""
        return len(self.writers)

    async def until(self, condition: Callable[[], bool]) -> None:
        await eventually(condition)

    async def stop(self) -> None:
        """Stop listening and cut every connection."""
        assert self.server is not None
        self.server.close()
        for writer in list(self.writers):
            writer.transport.abort()
        await eventually(lambda: not self.writers)
        await self.server.wait_closed()


async def eventually(condition: Callable[[], bool]) -> None:
    """Poll the loop until `condition` holds; fails after the deadline."""
    with anyio.fail_after(DEADLINE):
        while not condition():  # noqa: ASYNC110 - what others did has no event of ours
            await asyncio.sleep(0.001)


def says(*answers: bytes) -> Answer:
    """Answer the nth request with the nth of `answers`, the last one from then on."""
    count = 0

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        writer.write(answers[min(count, len(answers) - 1)])
        count += 1

    return answer


def says_and_closes(answer_bytes: bytes) -> Answer:
    """Answer, then close the connection."""

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(answer_bytes)
        writer.close()

    return answer


async def silence(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Answer nothing."""


async def _read_request(reader: asyncio.StreamReader, number: int) -> Seen:
    raw = await reader.readuntil(b"\r\n\r\n")
    start, *lines = raw[:-4].split(b"\r\n")
    pairs = [line.partition(b": ") for line in lines]
    headers = [(name, value) for name, _, value in pairs]
    length = int({name.lower(): value for name, value in headers}.get(b"content-length", b"0"))
    body = await reader.readexactly(length)
    return Seen(start, headers, body, raw, number)


@asynccontextmanager
async def raw_server(
    answer: Answer, *, tls: ssl.SSLContext | None = None, unix: str | None = None
) -> AsyncIterator[RawServer]:
    """Serve every request by `answer` until the block ends."""
    state = RawServer()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state.connections += 1
        number = state.connections
        state.writers.add(writer)
        try:
            while not writer.is_closing():
                seen = await _read_request(reader, number)
                state.seen.append(seen)
                await answer(seen, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            state.writers.discard(writer)
            writer.close()

    if unix is not None:
        state.server = await asyncio.start_unix_server(serve, unix)
    else:
        state.server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
        state.port = state.server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        await state.stop()


@asynccontextmanager
async def pool(
    target: HttpTarget | str, inject: Inject | None = None, **limits: Any
) -> AsyncIterator[HttpUpstream]:
    """Run a pool until the block ends, and see that nothing of it is left.

    Connections are not given up for being idle unless `limits` say so: a busy machine rests for
    seconds in the middle of a test.
    """
    if isinstance(target, str):
        kept = {"sweep_seconds": 0.01, "fresh_seconds": 3600.0, "idle_seconds": 3600.0}
        target = target_from(target, limits=HttpLimits(**{**kept, **limits}))
    upstream = HttpUpstream("private", target, inject)
    await upstream.start()
    try:
        yield upstream
    finally:
        with anyio.fail_after(DEADLINE):
            await upstream.aclose()


def call(
    method: str = "tools/call",
    *,
    http: str = "POST",
    headers: Headers | None = None,
    body: bytes | None = None,
    session: str = SESSION,
    mcp_session: str | None = None,
    id: int | str = 7,  # noqa: A002 - the word JSON-RPC has for it
) -> UpstreamRequest:
    """Make a request as the gate would let it pass."""
    if http != "POST":
        return UpstreamRequest(http, headers or [], b"", None, session, mcp_session)
    document = {"jsonrpc": "2.0", "id": id, "method": method, "params": {"name": "echo"}}
    body = json.dumps(document).encode() if body is None else body
    envelope = parse(json.dumps(document).encode())
    headers = [(b"content-type", b"application/json")] if headers is None else headers
    return UpstreamRequest(http, headers, body, envelope, session, mcp_session)


async def ask(upstream: HttpUpstream, request: UpstreamRequest | None = None) -> Recorder:
    """Make one exchange and wait for its end."""
    reply = Recorder()
    upstream.open(request or call(), reply)
    return await reply.done()


def begin(
    upstream: HttpUpstream, request: UpstreamRequest | None = None, room: int | None = None
) -> tuple[Exchange, Recorder]:
    """Begin one exchange and return at once."""
    reply = Recorder(room)
    return upstream.open(request or call(), reply), reply


def response(
    *lines: bytes, body: bytes = b"{}", status: bytes = b"200 OK", length: bool = True
) -> bytes:
    """Write a response with header `lines`, by default with its content-length."""
    own = [b"Content-Length: %d" % len(body)] if length else []
    return b"\r\n".join([b"HTTP/1.1 " + status, *lines, *own, b"", body])
