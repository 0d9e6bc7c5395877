"""The strict envelope: what it reads, and every way in which two readers could differ."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.jsonrpc.envelope import MAX_DEPTH, Envelope, EnvelopeError, Kind, error_body, parse
from tests.shared.jsonrpc.messages import META, VERSION, encode, modern, request, with_arguments


def refused(body: bytes) -> EnvelopeError:
    with pytest.raises(EnvelopeError) as caught:
        parse(body)
    assert caught.value.status == 400
    return caught.value


def nested(depth: int) -> bytes:
    """Return a call whose arguments make the whole message `depth` levels deep."""
    below = depth - 2
    return with_arguments(b'{"a":' * below + b"1" + b"}" * below)


@pytest.mark.parametrize("key", [b"__proto__", b"__proto\\u005f_", b"\\u005f\\u005fproto__"])
@pytest.mark.parametrize("around", [b"%b", b'{"a":[%b]}', b'{"a":1,"b":{"c":%b}}'])
def test_h14_a_key_that_some_readers_take_for_what_an_object_inherits_is_refused(
    key: bytes, around: bytes
) -> None:
    """A copy with `Object.assign` has a `bcc` then that the arguments we judge have not."""
    arguments = around % (b'{"%b":{"bcc":"x"}}' % key)
    assert refused(with_arguments(arguments)).code == -32600


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


class TestH13Batches:
    """A batch hides calls from whoever reads one message."""

    @pytest.mark.parametrize(
        "body", [b"[]", b"[[]]", b"[{}]", encode([request()]), encode([[request()]]), b" [1]"]
    )
    def test_a_batch_is_refused(self, body: bytes) -> None:
        assert refused(body).code == -32600

    @pytest.mark.parametrize("body", [b"1", b'"x"', b"null", b"true", b"1.5"])
    def test_so_is_everything_else_that_is_no_object(self, body: bytes) -> None:
        assert refused(body).code == -32600


class TestH14DuplicateKeys:
    """Some readers take the first of two, others the last."""

    @pytest.mark.parametrize(
        "body",
        [
            b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}',
            b'{"jsonrpc":"2.0","id":1,"id":1,"method":"ping"}',
            b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"name":"read","name":"delete"}}',
            b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"na\\u006de":"a","name":"b"}}',
            b'{"jsonrpc":"2.0","id":1,"method":"x","params":{},"params":{}}',
            b'{"jsonrpc":"2.0","id":1,"method":"x","extra":{"a":1,"a":1}}',
            with_arguments(b'{"path":"a","path":"b"}'),
            with_arguments(b'{"deep":[{"path":"a","p\\u0061th":"b"}]}'),
        ],
    )
    def test_duplicates_are_refused_at_every_depth(self, body: bytes) -> None:
        assert refused(body).code == -32700


class TestH15CaseVariants:
    """Readers that ignore case take `Method` for `method`, and U+017F for an s."""

    @pytest.mark.parametrize(
        "key",
        ["Method", "METHOD", "ID", "Id", "Params", "param\u017f", "JSONRPC", "Result", "ERROR"],
    )
    def test_a_variant_at_the_top_is_refused(self, key: str) -> None:
        error = refused(encode({**request(), key: "x"}))
        assert (error.code, error.id) == (-32600, 7)

    @pytest.mark.parametrize(
        "key",
        ["Name", "NAME", "Arguments", "argument\u017f", "Uri", "_Meta", "TaskID", "tas\u212aId"],
    )
    def test_a_variant_in_params_is_refused_even_alone(self, key: str) -> None:
        error = refused(encode(request("tools/call", **{key: "x"})))
        assert (error.code, error.id) == (-32600, 7)

    @pytest.mark.parametrize(
        "key",
        [
            "io.modelcontextprotocol/protocolversion",
            "IO.modelcontextprotocol/protocolVersion",
            "io.modelcontextprotocol/clientCapabilitie\u017f",
            "ProgressToken",
        ],
    )
    def test_a_variant_in_meta_is_refused(self, key: str) -> None:
        assert refused(encode(request("tools/list", _meta={key: "x"}))).code == -32600

    def test_escapes_do_not_hide_a_variant(self) -> None:
        body = b'{"jsonrpc":"2.0","id":1,"method":"ping","\\u004dethod":"x"}'
        assert refused(body).code == -32600


class TestH16NotStrictJson:
    """What one reader refuses and another repairs."""

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b" ",
            b"{",
            b"\xef\xbb\xbf" + encode(request()),
            encode(request()).decode().encode("utf-16"),
            encode(request()) + b"x",
            encode(request()) + encode(request()),
            encode(request()) + b"\x00",
            b'{"jsonrpc":"2.0",/* no */"method":"ping"}',
            b'{"jsonrpc":"2.0","method":"ping",}',
            b"{'jsonrpc':'2.0','method':'ping'}",
            with_arguments(b'{"a":"\xff"}'),
            with_arguments(b'{"a":"\xc0\xaf"}'),
            with_arguments(b'{"a":"\xed\xa0\x80"}'),
            with_arguments(b'{"a":"\\ud800"}'),
            with_arguments(b'{"a":"\\udc00"}'),
            with_arguments(b'{"\\ud800":1}'),
            with_arguments(b'{"a":"\x01"}'),
            with_arguments(b'{"a":NaN}'),
            with_arguments(b'{"a":Infinity}'),
            with_arguments(b'{"a":-Infinity}'),
            with_arguments(b'{"a":01}'),
            with_arguments(b'{"a":+1}'),
            with_arguments(b'{"a":.5}'),
            with_arguments(b'{"a":' + b"9" * 5000 + b"}"),
        ],
    )
    def test_it_is_refused(self, body: bytes) -> None:
        error = refused(body)
        assert (error.code, error.id) == (-32700, None)

    @pytest.mark.parametrize(
        "number", [b"1e999", b"-1E+0999", b"1.5e400", b"9" * 400 + b".0", b"0.1e310"]
    )
    @pytest.mark.parametrize("place", [b"%s", b"[[%s]]", b"[" + b"0," * 50 + b"%s]"])
    def test_overflow_to_infinity_is_refused(self, number: bytes, place: bytes) -> None:
        assert refused(with_arguments(b'{"a":' + place % number + b"}")).code == -32700

    @pytest.mark.parametrize(
        "body",
        [
            b'{"jsonrpc":"2.0","id":1e999,"method":"ping"}',
            b'{"jsonrpc":"2.0","id":1,"method":1e999}',
            b'{"jsonrpc":"2.0","id":1,"method":"ping","extra":-1e999}',
            b'{"jsonrpc":"2.0","id":1,"result":{"a":1e999}}',
        ],
    )
    def test_overflow_is_found_outside_params_too(self, body: bytes) -> None:
        assert refused(body).code == -32700

    @pytest.mark.parametrize("number", [b"1e308", b"1e-999", b"-0.0", b"1.7976931348623157e308"])
    def test_finite_numbers_pass(self, number: bytes) -> None:
        parse(with_arguments(b'{"a":' + number + b"}"))

    def test_a_message_as_deep_as_the_limit_passes(self) -> None:
        parse(nested(MAX_DEPTH))

    @pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 150, 250, 100_000])
    def test_a_deeper_one_is_refused(self, depth: int) -> None:
        assert refused(nested(depth)).code == -32700

    def test_so_is_an_empty_object_below_the_limit(self) -> None:
        assert refused(nested(MAX_DEPTH).replace(b":1}", b":{}}")).code == -32700


class TestH30Ids:
    """An id that two sides write differently loses or misroutes the answer."""

    @pytest.mark.parametrize(
        "identity",
        [
            *(b"null", b"1.5", b"1.0", b"1e0", b"true", b"false", b"{}", b"[]", b"-0", b"-0.0"),
            b'"' + b"x" * 257 + b'"',
            b'"' + "é".encode() * 129 + b'"',
            b'"' + b"x" * 10_000 + b'"',
            b"1" + b"0" * 256,
        ],
    )
    @pytest.mark.parametrize("rest", [b'"method":"ping"', b'"result":{}'])
    def test_it_is_refused_and_not_echoed(self, identity: bytes, rest: bytes) -> None:
        error = refused(b'{"jsonrpc":"2.0","id":' + identity + b"," + rest + b"}")
        assert (error.code, error.id) == (-32600, None)

    def test_minus_zero_is_found_under_an_escaped_key(self) -> None:
        assert refused(b'{"jsonrpc":"2.0","\\u0069d": -0,"method":"ping"}').code == -32600

    def test_minus_zero_elsewhere_is_no_fault(self) -> None:
        body = b'{"jsonrpc":"2.0","id":0,"method":"x","params":{"id":-0,"t":"\\"id\\":-0"}}'
        assert parse(body).id == 0


class TestP05KeysInArguments:
    """Policy, digest and upstream must see one value."""

    @pytest.mark.parametrize(
        "arguments",
        [
            {"path": "/tmp/x", "Path": "/etc/shadow"},
            {"PATH": 1, "Path": 2},
            {"pa\u017f\u017fword": 1, "password": 2},
            {"\u212aey": 1, "key": 2},
            {"deep": [{"list": [{"a": 1, "A": 2}]}]},
            {"name": {"name": 1, "Name": 2}},
        ],
    )
    def test_keys_that_differ_only_by_case_are_refused(self, arguments: dict[str, Any]) -> None:
        error = refused(encode(request(name="read", arguments=arguments)))
        assert (error.code, error.id) == (-32700, 7)

    def test_capitals_alone_are_no_fault(self) -> None:
        arguments = {"Path": "x", "URL": "y", "deep": {"path": 1}, "Name": 1, "Method": 2}
        assert parse(encode(request(name="read", arguments=arguments))).params is not None


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
