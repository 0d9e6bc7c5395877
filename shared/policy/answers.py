"""What the agent is told when policy says no: the same bytes from either end, and no rule's text.

A refused tool call is a result with `isError`, so that the model reads it; everything else is a
JSON-RPC error. Results have `resultType`, which modern agents need and legacy ones ignore.
"""

import json
from typing import Any

from shared.jsonrpc.envelope import error_body
from shared.policy.methods import TOOL

MessageId = str | int | None

DENIED = -31005
"""Our own JSON-RPC codes stand outside -32768..-32000, which the protocol keeps for itself."""
PENDING = -31006
INVALID_PARAMS = -32602
MAX_SHOWN = 128


def denied(message_id: MessageId, request_id: str, method: str = TOOL) -> bytes:
    """Answer a call that policy denies; `request_id` is what the operator finds in the log."""
    text = f"denied by policy (request {request_id})"
    if method == TOOL:
        return _tool_result(message_id, text)
    data = {"origin": "relay", "delivery": "never_sent", "request": request_id}
    return error_body(message_id, DENIED, text, data)


def unknown_tool(message_id: MessageId, name: str | None = None) -> bytes:
    """Answer a call of a tool that is not there, or that this session does not see: one answer."""
    shown = "" if name is None else ": " + name[:MAX_SHOWN]
    return error_body(message_id, INVALID_PARAMS, f"Unknown tool{shown}")


def pending(
    message_id: MessageId,
    approval_id: str,
    what_to_do: str,
    method: str = TOOL,
) -> bytes:
    """Answer a call that waits for a person; nothing is held open for them."""
    text = f"approval pending: {approval_id}. {what_to_do}"
    if method == TOOL:
        return _tool_result(message_id, text)
    data = {"origin": "relay", "delivery": "never_sent", "approval": approval_id}
    return error_body(message_id, PENDING, text, data)


def _tool_result(message_id: MessageId, text: str) -> bytes:
    result: dict[str, Any] = {
        "resultType": "complete",
        "content": [{"type": "text", "text": text}],
        "isError": True,
    }
    answer = {"jsonrpc": "2.0", "id": message_id, "result": result}
    return json.dumps(answer, separators=(",", ":")).encode()
