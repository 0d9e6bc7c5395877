"""An agent's side of one Upstream without HTTP: build requests, keep replies, wait with a bound."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from pydantic import SecretStr

from shared.errors import ResetCode
from shared.jsonrpc.envelope import parse
from tunnel_client.upstream.base import Exchange, Headers, UpstreamRequest
from tunnel_client.upstream.stdio import StdioUpstream
from tunnel_client.upstream.stdio_command import StdioCommand, StdioLimits

SERVER = Path(__file__).with_name("stdio_server.py")
MODERN = "2026-07-28"
LEGACY = "2025-06-18"
DEADLINE = 15.0
BOTH: Headers = [(b"accept", b"application/json, text/event-stream")]
CAPABILITIES = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
}
Message = dict[str, Any]


class KeptReply:
    """A Reply that keeps what it gets; `ready` False makes it ask for a pause."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.ended = False
        self.failed: ResetCode | None = None
        self.detail = ""
        self.ready = True
        self.exchange: Exchange | None = None
        self._changed = asyncio.Event()

    def head(self, status: int, headers: Headers, end: bool = False) -> None:
        assert self.status is None
        self.status, self.headers, self.ended = status, dict(headers), end
        self._changed.set()

    def data(self, chunk: bytes, end: bool = False) -> bool:
        assert self.status is not None
        assert not self.ended
        self.body += chunk
        self.ended = end
        self._changed.set()
        return self.ready

    def fail(self, code: ResetCode, detail: str) -> None:
        assert not self.ended
        self.failed, self.detail, self.ended = code, detail, True
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when a condition on this reply holds."""
        with anyio.fail_after(DEADLINE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def done(self) -> "KeptReply":
        """Return when the answer has ended."""
        await self.until(lambda: self.ended)
        return self

    async def count(self, events: int) -> "KeptReply":
        """Return when so many messages came."""
        await self.until(lambda: len(self.messages) >= events)
        return self

    @property
    def messages(self) -> list[Message]:
        """All messages of the answer, JSON or events."""
        if self.headers.get(b"content-type") == b"application/json":
            return [json.loads(self.body)] if self.ended and self.body else []
        lines = self.body.split(b"\n")
        data = [line[6:] for line in lines if line.startswith(b"data: ") and line != b"data: "]
        return [json.loads(each) for each in data]

    @property
    def last(self) -> Message:
        return self.messages[-1]

    @property
    def text(self) -> str:
        """The text of a tool's result."""
        return str(self.last["result"]["content"][0]["text"])

    @property
    def event_ids(self) -> list[str]:
        lines = self.body.decode().split("\n")
        return [line[4:] for line in lines if line.startswith("id: ")]


class Peer:
    """Sends requests of both eras to an upstream."""

    def __init__(self, upstream: StdioUpstream) -> None:
        self.upstream = upstream

    def send(
        self,
        message: Message | None,
        *,
        method: str = "POST",
        headers: Headers | None = None,
        session: str = "5e551011",
        mcp_session: str | None = None,
        reply: KeptReply | None = None,
    ) -> KeptReply:
        """Open one exchange."""
        body = b"" if message is None else json.dumps({"jsonrpc": "2.0", **message}).encode()
        reply = reply or KeptReply()
        request = UpstreamRequest(
            method,
            BOTH if headers is None else headers,
            body,
            parse(body) if body else None,
            session,
            mcp_session,
        )
        reply.exchange = self.upstream.open(request, reply)
        return reply

    def modern(
        self,
        method: str,
        params: Message | None = None,
        *,
        id: Any = 1,  # noqa: A002 - the word JSON-RPC has for it
        meta: Message | None = None,
        more: Headers | None = None,
        session: str = "5e551011",
        reply: KeptReply | None = None,
    ) -> KeptReply:
        """Send a modern request with all it must have."""
        params = {**(params or {}), "_meta": {**CAPABILITIES, **(meta or {})}}
        headers = [
            *BOTH,
            (b"mcp-protocol-version", MODERN.encode()),
            (b"mcp-method", method.encode()),
            *((name, params["name"].encode()) for name in [b"mcp-name"] if "name" in params),
            *(more or []),
        ]
        message = {"id": id, "method": method, "params": params}
        return self.send(message, headers=headers, session=session, reply=reply)

    def modern_call(self, tool: str, arguments: Message | None = None, **more: Any) -> KeptReply:
        """Call a tool in the modern era."""
        return self.modern("tools/call", {"name": tool, "arguments": arguments or {}}, **more)

    def initialize(self, mcp_session: str, version: str = LEGACY, **more: Any) -> KeptReply:
        """Begin a legacy MCP session."""
        params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t"}}
        message = {"id": 0, "method": "initialize", "params": params}
        return self.send(message, mcp_session=mcp_session, **more)

    def legacy_call(
        self, mcp_session: str, tool: str, arguments: Message | None = None, **more: Any
    ) -> KeptReply:
        """Call a tool in a legacy MCP session."""
        identity, token = more.pop("id", 1), more.pop("token", None)
        params: Message = {"name": tool, "arguments": arguments or {}}
        if token is not None:
            params["_meta"] = {"progressToken": token}
        message = {"id": identity, "method": "tools/call", "params": params}
        return self.send(message, mcp_session=mcp_session, **more)

    def get(self, mcp_session: str | None, *more: tuple[bytes, bytes]) -> KeptReply:
        """Open a GET stream."""
        headers = [(b"accept", b"text/event-stream"), *more]
        return self.send(None, method="GET", headers=headers, mcp_session=mcp_session)


def command(*options: str, env: dict[str, str] | None = None, **more: Any) -> StdioCommand:
    """Return how to start the misbehaving server."""
    secret = {name: SecretStr(value) for name, value in (env or {}).items()}
    return StdioCommand((sys.executable, "-S", str(SERVER), *options), env=secret, **more)


@asynccontextmanager
async def upstream_of(
    *options: str, env: dict[str, str] | None = None, **limits: Any
) -> AsyncIterator[Peer]:
    """Run a stdio upstream of the misbehaving server; no process of it is left afterwards."""
    upstream = StdioUpstream("raw", command(*options, env=env), StdioLimits(**limits))
    await upstream.start()
    try:
        yield Peer(upstream)
    finally:
        await upstream.aclose()
        assert upstream.children == 0


async def eventually(condition: Callable[[], bool]) -> None:
    """Return when something outside of our own events holds, such as the end of a process."""
    with anyio.fail_after(DEADLINE):
        # No event of ours tells of a process that is not our child.
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
