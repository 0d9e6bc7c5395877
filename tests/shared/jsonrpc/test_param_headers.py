"""Mcp-Param headers, compared with the verdict of a conforming server."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.inbound import validate_mcp_param_headers

from shared.jsonrpc.envelope import EnvelopeError, parse
from shared.jsonrpc.headers import check_params
from shared.jsonrpc.param_headers import Mirrored, mirrored
from tests.shared.jsonrpc.messages import encode, modern

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "count": {"type": "integer", "x-mcp-header": "Count"},
        "dry": {"type": "boolean", "x-mcp-header": "Dry"},
        "where": {
            "type": "object",
            "properties": {"zone": {"type": "string", "x-mcp-header": "Zone"}},
        },
        "plain": {"type": "string"},
    },
}


def code_of(schema: object, arguments: Any, headers: list[tuple[bytes, bytes]]) -> int | None:
    try:
        check_params(schema, parse(encode(modern(name="t", arguments=arguments))), headers)
    except EnvelopeError as error:
        assert (error.status, error.id) == (400, 7)  # noqa: PT017 - in every case
        return error.code
    return None


def line(name: str, value: str) -> tuple[bytes, bytes]:
    return f"mcp-param-{name}".encode(), value.encode("latin-1")


@pytest.mark.parametrize(
    ("arguments", "headers"),
    [
        ({}, []),
        (None, []),
        ({"plain": "x"}, []),
        ({"region": None}, []),
        ({"region": {"not": "a scalar"}}, []),
        ({"region": "eu"}, [line("region", " eu ")]),
        ({"region": "é"}, [line("region", "=?base64?w6k=?=")]),
        ({"region": "=?base64?SGVsbG8="}, [line("region", "=?base64?SGVsbG8=")]),
        ({"count": 42}, [line("count", "42")]),
        ({"count": 42}, [line("count", "42.0")]),
        ({"count": 42.0}, [line("count", "42")]),
        ({"count": 2**60}, [line("count", f"{2**60}.00")]),
        ({"dry": False}, [line("dry", "false")]),
        ({"where": {"zone": "a"}}, [line("zone", "a")]),
        ({"where": "nowhere"}, []),
        ({}, [line("unknown", "x"), line("unknown", "y")]),
    ],
)
def test_h32_headers_that_mirror_their_arguments_pass(
    arguments: Any, headers: list[tuple[bytes, bytes]]
) -> None:
    assert code_of(SCHEMA, arguments, headers) is None


@pytest.mark.parametrize(
    ("arguments", "headers"),
    [
        ({"region": "eu"}, []),
        ({"region": "eu"}, [line("region", "us")]),
        ({"region": "eu"}, [line("region", "EU")]),
        ({"region": "eu"}, [line("region", "eu"), line("region", "eu")]),
        ({}, [line("region", "eu")]),
        (None, [line("region", "eu")]),
        ({"region": None}, [line("region", "null")]),
        ({"region": ["eu"]}, [line("region", "eu")]),
        ({"region": "Hello"}, [line("region", "=?base64?SGVsbG8?=")]),
        ({"region": "Hello"}, [line("region", "=?base64?SGVs!!!bG8=?=")]),
        ({"region": "42"}, [line("region", "42.0")]),
        ({"count": 42}, [line("count", "42.5")]),
        ({"count": 42}, [line("count", "4.2e1")]),
        ({"count": 42}, [line("count", "9" * 5000)]),
        ({"count": 2**53}, [line("count", str(2**53 + 1))]),
        ({"count": True}, [line("count", "1")]),
        ({"dry": True}, [line("dry", "True")]),
        ({"where": {"zone": "a"}}, [line("zone", "b")]),
    ],
)
def test_h32_others_are_refused(arguments: Any, headers: list[tuple[bytes, bytes]]) -> None:
    assert code_of(SCHEMA, arguments, headers) == -32020


def test_only_calls_are_compared() -> None:
    check_params(SCHEMA, parse(encode(modern("tools/list"))), [line("region", "eu")])


@pytest.mark.parametrize(
    "schema",
    [
        None,
        [],
        {"x-mcp-header": "Root"},
        {"properties": {"a": {"type": "number", "x-mcp-header": "A"}}},
        {"properties": {"a": {"type": ["string"], "x-mcp-header": "A"}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": 5}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": "a b"}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": ""}}},
        {
            "properties": {
                "a": {"type": "string", "x-mcp-header": "A"},
                "b": {"type": "string", "x-mcp-header": "a"},
            }
        },
        {"properties": SCHEMA["properties"], "items": {"type": "string", "x-mcp-header": "Q"}},
        {"properties": SCHEMA["properties"], "anyOf": [{"x-mcp-header": "Q"}]},
        {"properties": SCHEMA["properties"], "$defs": {"q": {"x-mcp-header": "Q"}}},
    ],
)
def test_a_schema_with_a_bad_annotation_mirrors_nothing(schema: object) -> None:
    assert mirrored(schema) == ()


def test_annotations_in_data_are_not_annotations() -> None:
    schema = {**SCHEMA, "default": {"x-mcp-header": "Q"}, "enum": [{"x-mcp-header": "Q"}]}
    assert set(mirrored(schema)) == {
        Mirrored(("region",), b"mcp-param-region", "string"),
        Mirrored(("count",), b"mcp-param-count", "integer"),
        Mirrored(("dry",), b"mcp-param-dry", "boolean"),
        Mirrored(("where", "zone"), b"mcp-param-zone", "string"),
    }


def test_a_schema_may_be_as_deep_as_it_likes() -> None:
    schema: dict[str, Any] = {"x-mcp-header": "Q"}
    for _ in range(50_000):
        schema = {"not": schema}
    assert mirrored(schema) == ()


SCALARS: st.SearchStrategy[Any] = st.sampled_from(
    ["eu", "42", "", True, 42, 42.0, 4.5, 1e300, -7, None, [], {"zone": "a"}]
)
SHOWN = st.sampled_from(
    ["eu", "42", "42.0", "-7", "-7.00", "true", "4.5", "", "a", "=?base64?ZXU=?="]
)


@given(
    arguments=st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("region", "count", "dry", "where"), SCALARS)
    ),
    shown=st.dictionaries(st.sampled_from(["Region", "Count", "Dry", "Zone", "Other"]), SHOWN),
)
def test_the_verdict_is_that_of_a_server(arguments: dict[str, Any], shown: dict[str, str]) -> None:
    server = validate_mcp_param_headers(
        SCHEMA, arguments, {f"Mcp-Param-{name}": value for name, value in shown.items()}
    )
    ours = code_of(SCHEMA, arguments, [line(name.lower(), value) for name, value in shown.items()])
    assert ours == (None if server is None else server.code)
