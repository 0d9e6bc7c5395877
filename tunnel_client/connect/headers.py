"""The HTTP headers that go with a message, taken from the message itself. Pure.

Sources: transports of 2025-11-25 ("Protocol Version Header") and 2026-07-28 ("Request headers").
"""

from typing import Any

from shared.jsonrpc.envelope import Envelope, Kind
from shared.jsonrpc.header_values import encode_value
from shared.jsonrpc.param_headers import Mirrored, mirrored, shown_argument

BOTH_TYPES = "application/json, text/event-stream"
MAX_TOOLS = 10_000


class ToolHeaders:
    """Which arguments of which tool travel in headers too, learnt from listings passing by."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Mirrored, ...]] = {}

    def learn(self, result: object) -> None:
        """Take in the result of a `tools/list`; total."""
        tools = result.get("tools") if isinstance(result, dict) else None
        for tool in tools if isinstance(tools, list) else ():
            name = tool.get("name") if isinstance(tool, dict) else None
            if isinstance(name, str) and (name in self._known or len(self._known) < MAX_TOOLS):
                self._known[name] = mirrored(tool.get("inputSchema"))

    def knows(self, envelope: Envelope) -> bool:
        """Tell whether the tool of a call was in a listing."""
        return envelope.name in self._known

    def headers(self, envelope: Envelope) -> dict[str, str]:
        """Return the `Mcp-Param-*` headers of a call."""
        found = {}
        if envelope.method == "tools/call":
            for one in self._known.get(envelope.name or "", ()):
                value = shown_argument(one, envelope)
                if value is not None:
                    found[one.header.decode()] = encode_value(value)
        return found


def message_headers(
    envelope: Envelope, tools: ToolHeaders, negotiated: str | None
) -> dict[str, str]:
    """Return what a POST of this message says in its head.

    `negotiated` is the version for a message that names none: of the legacy era's handshake, or
    None before it.
    """
    headers = {"Content-Type": "application/json", "Accept": BOTH_TYPES}
    if not envelope.is_modern:
        if negotiated is not None and envelope.method != "initialize":
            headers["MCP-Protocol-Version"] = negotiated
        return headers
    headers["MCP-Protocol-Version"] = encode_value(envelope.version or "")
    if envelope.kind is Kind.REQUEST:
        headers["Mcp-Method"] = encode_value(envelope.method or "")
        if envelope.name is not None:
            headers["Mcp-Name"] = encode_value(envelope.name)
        headers |= tools.headers(envelope)
    return headers


def cancelled_id(envelope: Envelope) -> str | int | None:
    """Return the request that a `notifications/cancelled` is about, None for anything else."""
    params: dict[str, Any] = envelope.params or {}
    if envelope.method != "notifications/cancelled":
        return None
    named = params.get("requestId")
    return named if type(named) in (str, int) else None
