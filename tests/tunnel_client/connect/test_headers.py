"""The head of a POST says what the message says."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.jsonrpc.envelope import Envelope, parse
from shared.jsonrpc.headers import check_params, check_routing, read_routing
from tests.helpers.agent import call, initialize, request
from tunnel_client.connect.headers import ToolHeaders, cancelled_id, message_headers

SCHEMA = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "deep": {"properties": {"n": {"type": "integer", "x-mcp-header": "Deep-N"}}},
        "flag": {"type": "boolean", "x-mcp-header": "Flag"},
    },
}


def read(message: dict[str, Any]) -> Envelope:
    return parse(json.dumps(message).encode())


def known() -> ToolHeaders:
    tools = ToolHeaders()
    tools.learn({"tools": [{"name": "where", "inputSchema": SCHEMA}, {"name": 7}, None]})
    return tools


@given(
    st.text(max_size=40),
    st.one_of(st.text(max_size=20), st.none()),
    st.integers(),
    st.booleans(),
)
def test_the_other_end_finds_every_header_equal_to_the_body(
    tool: str, region: str | None, number: int, flag: bool
) -> None:
    tools = ToolHeaders()
    tools.learn({"tools": [{"name": tool, "inputSchema": SCHEMA}]})
    try:
        message = call(tool, region=region, deep={"n": number}, flag=flag)
        envelope = read(message)
    except UnicodeEncodeError:
        return
    sent = [
        (name.lower().encode(), value.encode("ascii"))
        for name, value in message_headers(envelope, tools, None).items()
    ]
    check_routing(envelope, read_routing(sent))
    check_params(SCHEMA, envelope, sent)


def test_only_known_tools_and_calls_have_parameter_headers() -> None:
    tools = known()
    envelope = read(call("where", region="north", flag=True))
    assert tools.headers(envelope) == {"mcp-param-region": "north", "mcp-param-flag": "true"}
    assert tools.headers(read(call("other", region="north"))) == {}
    assert tools.headers(read(request("prompts/get", {"name": "where"}))) == {}
    junks: list[object] = [None, [], {"tools": 3}, {"tools": [{}]}]
    for junk in junks:
        tools.learn(junk)
    assert tools.headers(envelope)


def test_a_legacy_message_names_the_agreed_version_alone() -> None:
    tools = known()
    first = message_headers(read(initialize()), tools, "2025-06-18")
    assert set(first) == {"Content-Type", "Accept"}
    later = message_headers(read(call("where", modern=False, region="x")), tools, "2025-06-18")
    assert later["MCP-Protocol-Version"] == "2025-06-18"
    assert set(later) == {"Content-Type", "Accept", "MCP-Protocol-Version"}


def test_a_cancellation_names_its_request() -> None:
    def cancel(params: object) -> str | int | None:
        message = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
        return cancelled_id(read(message))

    assert cancel({"requestId": 7}) == 7
    assert cancel({"requestId": "a"}) == "a"
    assert cancel({"requestId": True}) is None
    assert cancel({}) is None
    assert cancelled_id(read(request("tools/call", {"requestId": 7}))) is None
