"""An MCP server over HTTP that lists whatever a test says, another thing each time if it likes."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

MODERN = "2026-07-28"
Message = dict[str, Any]


@dataclass
class Shifty:
    """What it answers and what it was asked; `pages` gives the result of a list request."""

    modern: bool = True
    instructions: str = ""
    tools: list[Any] = field(default_factory=list)
    prompts: list[Any] = field(default_factory=list)
    resources: list[Any] = field(default_factory=list)
    templates: list[Any] = field(default_factory=list)
    pages: Callable[[str, Message], Any] | None = None
    events: bool = False
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, method: str, params: Message) -> Message | None:
        """Return the result of a request, None for a method it does not know."""
        if method == ("server/discover" if self.modern else "initialize"):
            about: Message = {"capabilities": {"tools": {}, "prompts": {}, "resources": {}}}
            about |= {"instructions": self.instructions, "serverInfo": {"name": "shifty"}}
            return about | {"supportedVersions": [MODERN], "protocolVersion": "2025-06-18"}
        lists = {
            "tools/list": ("tools", self.tools),
            "prompts/list": ("prompts", self.prompts),
            "resources/list": ("resources", self.resources),
            "resources/templates/list": ("resourceTemplates", self.templates),
        }
        if method not in lists:
            return None
        if self.pages is not None:
            found = self.pages(method, params)
            return found if isinstance(found, dict) else None
        member, entries = lists[method]
        return {member: entries}


async def _serve(
    server: Shifty, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lengths = [line for line in head.lower().split("\r\n") if "content-length" in line]
            body = await reader.readexactly(int(lengths[0].split(":")[1]) if lengths else 0)
            verb = head.split(" ")[0]
            message = json.loads(body) if body else {}
            server.asked.append(message.get("method", verb))
            writer.write(_answer(server, verb, message))
            await writer.drain()
    writer.close()


def _answer(server: Shifty, verb: str, message: Message) -> bytes:
    if verb != "POST" or "id" not in message:
        return b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
    result = server.answer(message["method"], message.get("params", {}))
    said: Message = {"jsonrpc": "2.0", "id": message["id"]}
    said |= {"result": result} if result is not None else {"error": {"code": -32601}}
    text = json.dumps(said).encode()
    kind, extra = b"application/json", b""
    if server.events:
        kind, text = b"text/event-stream", b": hi\r\nevent: message\r\ndata: " + text + b"\r\n\r\n"
    if message["method"] == "initialize":
        extra = b"Mcp-Session-Id: abc\r\n"
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n%bContent-Length: %d\r\n\r\n%b" % (
        kind,
        extra,
        len(text),
        text,
    )


@contextlib.asynccontextmanager
async def shifty(**what: Any) -> AsyncIterator[Shifty]:
    """Serve while the block runs; what it lists may be changed meanwhile."""
    server = Shifty(**what)
    listening = await asyncio.start_server(lambda r, w: _serve(server, r, w), "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/mcp"
    try:
        yield server
    finally:
        listening.close()
