"""What two readers could take for different messages is refused: rows H13 to H16, H30 and P05."""

from typing import Any

import pytest

from shared.jsonrpc.envelope import MAX_DEPTH, parse
from tests.shared.jsonrpc.messages import encode, refused, request, with_arguments


def nested(depth: int) -> bytes:
    """Return a call whose arguments make the whole message `depth` levels deep."""
    below = depth - 2
    return with_arguments(b'{"a":' * below + b"1" + b"}" * below)


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


@pytest.mark.parametrize("key", [b"__proto__", b"__proto\\u005f_", b"\\u005f\\u005fproto__"])
@pytest.mark.parametrize("around", [b"%b", b'{"a":[%b]}', b'{"a":1,"b":{"c":%b}}'])
def test_h14_a_key_that_some_readers_take_for_what_an_object_inherits_is_refused(
    key: bytes, around: bytes
) -> None:
    """A copy with `Object.assign` has a `bcc` then that the arguments we judge have not."""
    arguments = around % (b'{"%b":{"bcc":"x"}}' % key)
    assert refused(with_arguments(arguments)).code == -32600


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
