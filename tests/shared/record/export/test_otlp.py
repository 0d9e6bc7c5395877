"""Spans of calls, as OTLP's JSON form and the MCP conventions have them."""

import json
import re
from typing import Any

from shared.record import encode
from shared.record.export.formats import Formatter, otlp_body
from shared.record.export.joined import Joiner, Origin
from tests.helpers.log_lines import chained, completion, intent
from tests.helpers.otlp import traces_of

CLIENT = Origin("tunnel-client", "mcp-tunnel/client/office/1", "1.0", "host.example")
RELAY = Origin("tunnel-relay", "mcp-tunnel/relay/https://r", "1.0", "host.example")
TRACED = b'"trace":"%b",' % (b"a" * 32 + b"-" + b"b" * 16)


def spans_of(origin: Origin, *records: bytes) -> list[dict[str, Any]]:
    formatter = Formatter("otlp", origin)
    lines = [formatter.line(seq, line) for seq, line in enumerate(chained(records))]
    return [json.loads(line) for line in lines if line]


def attributes(span: dict[str, Any]) -> dict[str, str]:
    return {each["key"]: next(iter(each["value"].values())) for each in span["attributes"]}


def test_a_call_is_one_span_below_that_of_its_agent() -> None:
    (span,) = spans_of(CLIENT, intent(0, 1, trace=TRACED), completion(1, 1, 0))
    assert span["name"] == "tools/call look_up"
    assert (span["traceId"], span["parentSpanId"]) == ("a" * 32, "b" * 16)
    assert re.fullmatch("[0-9a-f]{16}", span["spanId"])
    assert int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"]) == 1000
    assert (span["kind"], span["status"]) == (3, {"code": 1})
    said = attributes(span)
    assert said["mcp.method.name"] == "tools/call"
    assert said["gen_ai.tool.name"] == "look_up"
    assert said["gen_ai.operation.name"] == "execute_tool"
    assert said["mcp.session.id"] == "5" * 32
    assert said["http.response.status_code"] == "200"
    assert "error.type" not in said
    assert not [name for name in said if "argument" in name or "result" in name.partition(".")[0]]


def test_a_call_in_no_trace_has_one_at_both_ends_and_no_parent() -> None:
    records = (intent(0, 1), completion(1, 1, 0, b"tool_error"))
    (ours,), (theirs,) = spans_of(CLIENT, *records), spans_of(RELAY, *records)
    assert ours["traceId"] == theirs["traceId"]
    assert ours["spanId"] != theirs["spanId"]
    assert "parentSpanId" not in ours
    assert (theirs["kind"], ours["kind"]) == (2, 3)
    assert ours["status"] == {"code": 2, "message": "tool_error"}
    assert attributes(ours)["error.type"] == "tool_error"


def test_a_span_names_who_approved_and_how_many_it_is_of() -> None:
    """And a receiver decodes it."""
    approval = b'"approval":{"approvers":["pia","kim"],"arguments":"e","id":"a1","keys":["k"]},'
    (span,) = spans_of(RELAY, intent(0, 1, approval=approval), completion(1, 1, 0))
    refused = encode.event("call.refused", {"count": 5000, "began": 1, "ended": 2}, 0, 2)
    (many,) = spans_of(RELAY, refused)
    body = otlp_body("otlp", [json.dumps(each).encode() for each in (span, many)], RELAY)
    first, second = traces_of(body).resource_spans[0].scope_spans[0].spans
    said = {each.key: each.value for each in first.attributes}
    assert said["mcp_tunnel.approval"].string_value == "a1"
    approvers = said["mcp_tunnel.approvers"].array_value.values
    assert [each.string_value for each in approvers] == ["pia", "kim"]
    assert "mcp_tunnel.count" not in said
    assert {each.key: each.value.int_value for each in second.attributes}[
        "mcp_tunnel.count"
    ] == 5000


def test_a_span_that_is_made_again_is_the_same() -> None:
    records = (intent(0, 1), completion(1, 1, 0))
    assert spans_of(CLIENT, *records) == spans_of(CLIENT, *records)


def test_a_trace_of_zeros_is_none() -> None:
    zeros = b'"trace":"%b",' % (b"0" * 32 + b"-" + b"0" * 16)
    (span,) = spans_of(CLIENT, intent(0, 1, trace=zeros), completion(1, 1, 0))
    assert span["traceId"].strip("0")
    assert "parentSpanId" not in span


def test_intents_without_an_end_are_forgotten_one_day() -> None:
    joiner = Joiner(most=3)
    for seq, line in enumerate(chained(intent(seq, seq) for seq in range(5))):
        joiner.take(seq, line)
    assert joiner.first_open == 2
