"""Asks a server for its tools, when an agent calls one whose listing never passed by."""

import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx2
import jiter

from shared.jsonrpc.envelope import CAPABILITIES_KEY, META_PREFIX, VERSION_KEY, Envelope, parse
from tunnel_client.connect.events import EventReader
from tunnel_client.connect.headers import ToolHeaders, message_headers
from tunnel_client.connect.http import LINGER_SECONDS, check_encoding
from tunnel_client.connect.server import Server
from tunnel_client.errors_connect import ServerAnswerError

MAX_PAGES = 50
MAX_PAGE = 8 * 1024 * 1024
_META_KEYS = (VERSION_KEY, CAPABILITIES_KEY, META_PREFIX + "clientInfo")


async def learn_tools(server: Server, tools: ToolHeaders, caller: Envelope) -> None:
    """Read `tools/list` in the name of a modern call, page by page.

    Stops at what is no page. Raises as `Server.send`.
    """
    meta = (caller.params or {}).get("_meta", {})
    named = {key: meta[key] for key in _META_KEYS if key in meta}
    cursor: str | None = None
    for number in range(MAX_PAGES):
        params: dict[str, Any] = {"_meta": named}
        if cursor is not None:
            params["cursor"] = cursor
        asked = f"tunnel-client-{number}"
        page = await _page(server, tools, {"id": asked, "method": "tools/list", "params": params})
        tools.learn(page)
        cursor = page.get("nextCursor")
        if not isinstance(cursor, str):
            return


async def _page(server: Server, tools: ToolHeaders, request: dict[str, Any]) -> dict[str, Any]:
    body = json.dumps({"jsonrpc": "2.0", **request}).encode()
    headers = message_headers(parse(body), tools, None)
    page: dict[str, Any] = {}
    async with server.send("POST", headers, body) as response:
        if response.is_success:
            with anyio.CancelScope() as rest:
                async for document in _messages(response):
                    result = document.get("result")
                    if document.get("id") == request["id"] and isinstance(result, dict):
                        page = result
                        rest.deadline = anyio.current_time() + LINGER_SECONDS
    return page


async def _messages(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    """Yield the JSON objects of an answer, be it one or a stream."""
    check_encoding(response)
    streams = response.headers.get("content-type", "").startswith("text/event-stream")
    reader, body, taken = EventReader(), bytearray(), 0
    async for chunk in response.aiter_raw():
        taken += len(chunk)
        if taken > MAX_PAGE:
            raise ServerAnswerError("the server's list of tools is too large")
        if not streams:
            body += chunk
            continue
        for event in reader.feed(chunk):
            if (document := _object(event.data)) is not None:
                yield document
    if (document := _object(bytes(body))) is not None:
        yield document


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        document = jiter.from_json(data)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
