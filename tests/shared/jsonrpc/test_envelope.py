"""The strict envelope: what it reads, what is no message to it, and how it says no."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.jsonrpc.envelope import Envelope, EnvelopeError, Kind, error_body, parse
from tests.shared.jsonrpc.messages import META, VERSION, encode, modern, refused, request


def test_a_modern_call_says_what_it_is() -> None:
    document = modern(name="read", arguments={"path": "/x"})
    envelope = parse(encode(document))
    assert envelope.kind is Kind.REQUEST
    assert (envelope.id, envelope.method, envelope.name) == (7, "tools/call", "read")
    assert envelope.version == VERSION
    assert envelope.is_modern
    assert envelope.params == document["params"]
    assert envelope.document == document


@pytest.mark.parametrize(
    ("method", "params", "name"),
    [
        ("tools/call", {"name": "read"}, "read"),
        ("prompts/get", {"name": "greet"}, "greet"),
        ("resources/read", {"uri": "file:///x"}, "file:///x"),
        ("tasks/get", {"taskId": "t1"}, "t1"),
        ("tasks/cancel", {"taskId": "t1"}, "t1"),
        ("tools/call", {"name": 5}, None),
        ("tools/call", {}, None),
        ("tools/list", {"name": "read"}, None),
    ],
)
def test_the_name_is_what_the_method_acts_on(
    method: str, params: dict[str, Any], name: str | None
) -> None:
    assert parse(encode(request(method, **params))).name == name


@pytest.mark.parametrize(
    ("meta", "version", "is_modern"),
    [
        (META, VERSION, True),
        ({"io.modelcontextprotocol/protocolVersion": "2025-11-25"}, "2025-11-25", False),
        ({"io.modelcontextprotocol/protocolVersion": 20260728}, None, False),
        ({"progressToken": 1}, None, False),
        ({}, None, False),
        ([], None, False),
        (None, None, False),
    ],
)
def test_the_version_is_the_one_in_the_body(
    meta: object, version: str | None, is_modern: bool
) -> None:
    envelope = parse(encode(request("tools/list", _meta=meta)))
    assert (envelope.version, envelope.is_modern) == (version, is_modern)


def test_without_an_id_it_is_a_notification() -> None:
    envelope = parse(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
    assert envelope.kind is Kind.NOTIFICATION
    assert (envelope.id, envelope.params) == (None, None)


@pytest.mark.parametrize(
    ("body", "identity"),
    [
        (b'{"jsonrpc":"2.0","id":3,"result":{}}', 3),
        (b'{"jsonrpc":"2.0","id":"a","error":{"code":-1,"message":"no"}}', "a"),
        (b'{"jsonrpc":"2.0","error":{"code":-32700,"message":"no"}}', None),
    ],
)
def test_a_legacy_agent_answers_requests_of_the_upstream(
    body: bytes, identity: str | int | None
) -> None:
    envelope = parse(body)
    assert envelope.kind is Kind.RESPONSE
    assert (envelope.id, envelope.method, envelope.params) == (identity, None, None)


def test_members_nobody_knows_are_forwarded() -> None:
    document = {**modern(name="read", hint=1), "trace": {"Deep": 1}}
    document["params"]["_meta"] = {**META, "example.com/tenant": "x", "traceParent": "y"}
    assert parse(encode(document)).document == document


@pytest.mark.parametrize("identity", [0, -5, 2**63, "", "x" * 256, "é" * 128, 10**256 - 1])
def test_strings_and_integers_are_ids(identity: str | int) -> None:
    assert parse(encode({**request(), "id": identity})).id == identity


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"id": 1, "method": "ping"},
        {"jsonrpc": "1.0", "id": 1, "method": "ping"},
        {"jsonrpc": 2.0, "id": 1, "method": "ping"},
        {"jsonrpc": "2.0"},
        {"jsonrpc": "2.0", "id": 1},
        {"jsonrpc": "2.0", "id": 1, "method": 5},
        {"jsonrpc": "2.0", "id": 1, "method": None},
        {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []},
        {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": None},
        {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": "x"},
        {"jsonrpc": "2.0", "id": 1, "method": "ping", "result": {}},
        {"jsonrpc": "2.0", "id": 1, "method": "ping", "error": {}},
        {"jsonrpc": "2.0", "id": 1, "result": {}, "error": {}},
        {"jsonrpc": "2.0", "id": 1, "result": {}, "params": {}},
        {"jsonrpc": "2.0", "id": 1, "result": 5},
        {"jsonrpc": "2.0", "id": 1, "error": "no"},
        {"jsonrpc": "2.0", "id": 1, "error": None},
        {"jsonrpc": "2.0", "result": {}},
    ],
)
def test_what_is_no_message_is_refused_and_its_id_echoed(document: dict[str, Any]) -> None:
    error = refused(encode(document))
    assert (error.code, error.id) == (-32600, document.get("id"))


@pytest.mark.parametrize("key", ["arguments", "argument", "ref"])
@pytest.mark.parametrize("value", ['{"amount": 9000}', ["amount"], 0, False, 1.5])
def test_p06_arguments_that_are_no_object_are_refused(key: str, value: object) -> None:
    """P06: a rule would find none in them, and an upstream may read a text as an object."""
    for document in (request(), modern()):
        document["params"][key] = value
        with pytest.raises(EnvelopeError) as caught:
            parse(encode(document))
        assert (caught.value.code, caught.value.id) == (-32602, 7)
    goods: tuple[dict[str, Any], ...] = ({key: {}}, {key: None})
    for good in goods:
        assert parse(encode({**request(), "params": good})).params == good


def test_no_answer_repeats_what_the_agent_sent() -> None:
    error = refused(encode({**request(name="canary"), "canary": 1, "METHOD": "canary"}))
    assert "canary" not in str(error) + error.body().decode()


def test_an_error_is_written_as_json_rpc() -> None:
    assert json.loads(error_body("a", -32600, "no")) == {
        "jsonrpc": "2.0",
        "id": "a",
        "error": {"code": -32600, "message": "no"},
    }
    error = EnvelopeError(-32022, "no", data={"supported": []})
    assert json.loads(error.body())["id"] is None
    assert json.loads(error.body())["error"]["data"] == {"supported": []}


def outcome(body: bytes) -> Envelope | EnvelopeError:
    try:
        return parse(body)
    except EnvelopeError as error:
        return error


@given(st.binary(max_size=200))
def test_any_bytes_end_in_an_envelope_or_its_error(body: bytes) -> None:
    found = outcome(body)
    if isinstance(found, EnvelopeError):
        assert found.code in {-32700, -32600}
        assert json.loads(found.body())["id"] == found.id


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda below: st.lists(below) | st.dictionaries(st.text(), below),
    max_leaves=12,
)


MEMBERS = st.dictionaries(
    st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error", "Method"]) | st.text(),
    st.sampled_from(["2.0", "ping", 1, {}]) | JSON,
)


@given(MEMBERS)
def test_what_passes_is_read_alike_by_the_standard_library(document: dict[str, Any]) -> None:
    body = json.dumps(document).encode()
    envelope = outcome(body)
    if isinstance(envelope, Envelope):
        assert envelope.document == json.loads(body) == document


SEED = encode(
    modern(name="read", arguments={"path": "/é", "n": 1.5e3, "flag": True, "deep": [{"a": None}]})
)


@given(st.data())
def test_a_damaged_call_ends_in_an_envelope_or_its_error(data: st.DataObject) -> None:
    body = bytearray(SEED)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body)))
        piece = data.draw(
            st.binary(max_size=3) | st.sampled_from([b'"', b"{", b"[", b"e999", b"-0"])
        )
        body[at : at + data.draw(st.integers(0, 3))] = piece
    envelope = outcome(bytes(body))
    if isinstance(envelope, Envelope):
        # Duplicates of keys would be the one thing that this comparison cannot see.
        assert envelope.document == json.loads(bytes(body))
