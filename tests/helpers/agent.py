"""A raw agent: MCP requests over sockets of its own, so that tests decide and see every byte."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import httptools
from pydantic import SecretStr

DEADLINE = 30.0
MODERN = "2026-07-28"
LEGACY = "2025-11-25"
META = "io.modelcontextprotocol/"
Message = dict[str, Any]


def call(
    tool: str,
    *,
    id: int | str = 1,  # noqa: A002 - the word JSON-RPC has for it
    modern: bool = True,
    **arguments: Any,
) -> Message:
    """Write a `tools/call` request."""
    return request("tools/call", {"name": tool, "arguments": arguments}, id=id, modern=modern)


def request(
    method: str,
    params: Mapping[str, Any] | None = None,
    *,
    id: int | str = 1,  # noqa: A002 - the word JSON-RPC has for it
    modern: bool = True,
) -> Message:
    """Write a request of either era."""
    said = dict(params or {})
    if modern:
        said["_meta"] = {META + "protocolVersion": MODERN, META + "clientCapabilities": {}}
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": said}


def initialize(id: int | str = 1) -> Message:  # noqa: A002
    """Write the first request of the legacy era."""
    return request(
        "initialize",
        {
            "protocolVersion": LEGACY,
            "capabilities": {},
            "clientInfo": {"name": "raw", "version": "1"},
        },
        id=id,
        modern=False,
    )


def routing(message: Message) -> dict[str, str]:
    """Return the headers that must repeat what a message says."""
    params = message.get("params", {})
    if META + "protocolVersion" not in params.get("_meta", {}):
        return {} if message.get("method") == "initialize" else {"MCP-Protocol-Version": LEGACY}
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": message["method"]}
    if "name" in params:
        headers["Mcp-Name"] = params["name"]
    return headers


class Reply(asyncio.Protocol):
    """One connection and the one response on it, as it comes."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.body = b""
        self.chunks: list[bytes] = []
        self.whole = False
        self.closed = False
        self._changed = asyncio.Event()
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)
        self._changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._changed.set()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        if self._parser.get_status_code() < 200:
            self.headers.clear()
        else:
            self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self.chunks.append(body)

    def on_message_complete(self) -> None:
        self.whole = self.status != 0

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait for bytes that make `condition` true; fails when the connection ends before."""
        with anyio.fail_after(DEADLINE):
            while not condition():
                if self.closed:
                    said = b"".join(self.chunks)[-200:]
                    raise ConnectionError(f"closed after status {self.status} and {said!r}")
                self._changed.clear()
                await self._changed.wait()

    async def head(self) -> "Reply":
        """Wait for the response's head."""
        await self.until(lambda: self.status)
        return self

    async def text(self, wanted: bytes) -> bytes:
        """Wait until the body holds `wanted`; returns the body so far."""
        await self.until(lambda: wanted in b"".join(self.chunks))
        return b"".join(self.chunks)

    async def end(self) -> "Reply":
        """Wait for the whole response."""
        await self.until(lambda: self.whole)
        self.body = b"".join(self.chunks)
        return self

    async def broken(self) -> "Reply":
        """Wait until the connection is closed, whole or not."""
        with anyio.fail_after(DEADLINE):
            while not self.closed:
                self._changed.clear()
                await self._changed.wait()
        self.body = b"".join(self.chunks)
        return self

    async def broken_or_whole(self) -> "Reply":
        """Wait until nothing more comes, whole or not."""
        with anyio.fail_after(DEADLINE):
            while not (self.closed or self.whole):
                self._changed.clear()
                await self._changed.wait()
        self.body = b"".join(self.chunks)
        return self

    def values(self, name: str) -> list[str]:
        """Return the values of one header, name in lower case."""
        return [value for key, value in self.headers if key == name]

    @property
    def document(self) -> Any:
        """The JSON of the body."""
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The JSON-RPC error of the body, its id beside it."""
        document = self.document
        assert document["jsonrpc"] == "2.0"
        return {"id": document["id"], **document["error"]}

    @property
    def events(self) -> list[Any]:
        """The JSON of every whole event so far that has any."""
        blocks = b"".join(self.chunks).split(b"\n\n")[:-1]
        lines = [line for block in blocks for line in block.split(b"\n")]
        return [json.loads(line[6:]) for line in lines if line.startswith(b"data: ") and line[6:]]

    def begin_again(self) -> None:
        """Expect the next response on the same connection."""
        self.status, self.headers, self.body, self.chunks = 0, [], b"", []
        self.whole = False

    def close(self) -> None:
        """Leave."""
        self.transport.abort()


@dataclass(frozen=True)
class Agent:
    """Calls one endpoint with one token; `host` is what the Host header says."""

    port: int
    path: str
    token: SecretStr | None
    host: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)

    def with_token(self, token: SecretStr | None) -> "Agent":
        """Return the same agent with another token."""
        return replace(self, token=token)

    def at(self, path: str) -> "Agent":
        """Return the same agent at another path."""
        return replace(self, path=path)

    def head(
        self,
        message: Message | bytes | None,
        method: str = "POST",
        headers: Iterable[tuple[str, str]] = (),
    ) -> list[tuple[str, str]]:
        """Return the header fields of a request; `headers` replace those of the same name."""
        fields = {"Host": self.host or f"127.0.0.1:{self.port}"}
        if self.token is not None:
            fields["Authorization"] = f"Bearer {self.token.get_secret_value()}"
        fields["Accept"] = "application/json, text/event-stream"
        if method == "POST":
            fields["Content-Type"] = "application/json"
        if isinstance(message, dict):
            fields |= routing(message)
        fields |= self.extra
        given = list(headers)
        replaced = {name.lower() for name, _ in given}
        kept = [(name, value) for name, value in fields.items() if name.lower() not in replaced]
        return kept + [pair for pair in given if pair[1] != DROP]

    def encode(
        self,
        message: Message | bytes | None = None,
        *,
        method: str = "POST",
        headers: Iterable[tuple[str, str]] = (),
    ) -> bytes:
        """Write a whole request."""
        body = json.dumps(message).encode() if isinstance(message, dict) else message or b""
        fields = self.head(message, method, headers)
        if (method == "POST" or body) and not _framed(fields):
            fields.append(("Content-Length", str(len(body))))
        lines = [f"{method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    @asynccontextmanager
    async def open(
        self,
        message: Message | bytes | None = None,
        *,
        method: str = "POST",
        headers: Iterable[tuple[str, str]] = (),
    ) -> AsyncIterator[Reply]:
        """Send a request and hand out the reply as it comes; the connection ends with the block."""
        async with connected(self.port) as reply:
            reply.transport.write(self.encode(message, method=method, headers=headers))
            yield reply

    async def ask(
        self,
        message: Message | bytes | None = None,
        *,
        method: str = "POST",
        headers: Iterable[tuple[str, str]] = (),
    ) -> Reply:
        """Send a request and return the whole response."""
        async with self.open(message, method=method, headers=headers) as reply:
            return await reply.end()


DROP = "\0"
"""As the value of a header: leave it out."""


def _framed(fields: Iterable[tuple[str, str]]) -> bool:
    return any(name.lower() in ("content-length", "transfer-encoding") for name, _ in fields)


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Reply]:
    """Connect without sending anything; the connection ends with the block."""
    loop = asyncio.get_running_loop()
    _, reply = await loop.create_connection(Reply, "127.0.0.1", port)
    try:
        yield reply
    finally:
        reply.close()


async def raw(port: int, data: bytes) -> bytes:
    """Send bytes and return all that comes until the relay closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        with anyio.fail_after(DEADLINE):
            try:
                return await reader.read()
            except ConnectionResetError:
                return b""
    finally:
        writer.transport.abort()
