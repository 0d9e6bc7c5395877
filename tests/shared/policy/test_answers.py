"""Refusals are what agents of both eras can read, and tell no rule."""

import json

import pytest
from mcp_types import CallToolResult, JSONRPCError

from shared.policy import answers


@pytest.mark.parametrize("message_id", [1, "a"])
def test_a_denied_call_is_a_result_that_says_so(message_id: int | str) -> None:
    body = json.loads(answers.denied(message_id, "r-1"))
    assert (body["jsonrpc"], body["id"]) == ("2.0", message_id)
    result = CallToolResult.model_validate(body["result"])
    assert result.is_error
    assert body["result"]["resultType"] == "complete"
    assert body["result"]["content"][0]["text"] == "denied by policy (request r-1)"


def test_a_call_that_waits_says_what_to_do() -> None:
    body = json.loads(answers.pending(1, "ap-1", "Ask an approver, then call again."))
    result = CallToolResult.model_validate(body["result"])
    assert result.is_error
    text = body["result"]["content"][0]["text"]
    assert text == "approval pending: ap-1. Ask an approver, then call again."


def test_a_tool_nobody_sees_is_unknown() -> None:
    error = JSONRPCError.model_validate_json(answers.unknown_tool(1, "x" * 1000))
    assert error.error.code == -32602
    assert error.error.message == "Unknown tool: " + "x" * 128
    assert json.loads(answers.unknown_tool(1))["error"]["message"] == "Unknown tool"


@pytest.mark.parametrize("make", [answers.denied, answers.pending])
def test_other_methods_get_an_error_of_ours(make: object) -> None:
    if make is answers.denied:
        body = answers.denied(1, "r-1", "prompts/get")
    else:
        body = answers.pending(1, "ap-1", "Ask.", "prompts/get")
    error = JSONRPCError.model_validate_json(body).error
    assert not -32768 <= error.code <= -32000
    assert isinstance(error.data, dict)
    assert error.data["origin"] == "relay"
    assert error.data["delivery"] == "never_sent"
