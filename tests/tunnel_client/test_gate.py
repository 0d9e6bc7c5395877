"""The client's own check of what a relay sends: it holds whoever the relay is (row T32)."""

import json

import pytest

from shared.jsonrpc.envelope import EnvelopeError
from shared.wire.codec import Headers, OpenHead, encode_open
from tunnel_client.gate import GateError, Head, admit, admit_head

SESSION = "ab" * 16
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo"}}


def head(method: str = "POST", headers: Headers | None = None, mcp_session: str = "") -> Head:
    sent = OpenHead("desk", method, SESSION, mcp_session, headers or [])
    return admit_head(encode_open(sent))


def body(**changes: object) -> bytes:
    return json.dumps(CALL | changes).encode()


def test_a_sound_request_passes_with_its_original_bytes() -> None:
    request = admit(head(headers=[(b"accept", b"*/*")], mcp_session="m" * 64), body())
    assert (request.method, request.body, request.session) == ("POST", body(), SESSION)
    assert request.mcp_session == "m" * 64
    assert request.envelope is not None
    assert request.envelope.name == "echo"


def test_without_an_mcp_session_there_is_none() -> None:
    assert admit(head("GET"), b"").mcp_session is None


@pytest.mark.parametrize(
    "name",
    [b"authorization", b"cookie", b"host", b"origin", b"mcp-session-id", b"transfer-encoding"],
)
def test_a_header_no_relay_of_ours_sends_is_refused(name: bytes) -> None:
    with pytest.raises(GateError):
        admit(head(headers=[(name, b"x")]), body())


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-type", b"application/json; charset=utf-7")],
        [(b"content-type", b"text/plain")],
        [(b"content-type", b"application/json"), (b"content-type", b"application/json")],
        [(b"content-type", b"application/json"), (b"content_type", b"text/plain")],
        [(b"content_encoding", b"gzip")],
        [(b"content-type", b"application/json"), (b"mcp_name", b"other")],
    ],
)
def test_h19_a_body_that_could_be_read_in_another_way_is_refused(headers: Headers) -> None:
    """T32: to a server that goes by the charset it may name another tool than the one we judge."""
    with pytest.raises(GateError):
        admit(head(headers=headers), body())


def test_h19_json_may_say_that_it_is_utf_8() -> None:
    kind: Headers = [(b"content-type", b"application/json; charset=utf-8")]
    assert admit(head(headers=kind), body()).body == body()


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_body_where_none_belongs_is_refused(method: str) -> None:
    with pytest.raises(GateError):
        admit(head(method), b"{}")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"[]", -32600),
        (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', -32700),
        (b"", -32700),
        (body(method="sampling/createMessage"), -32601),
        (body(method="x/y"), -32601),
        (body(method="prompts/get", params={"name": ["admin_x"]}), -32602),
    ],
)
def test_what_the_relay_should_have_refused_is_refused_here_again(sent: bytes, code: int) -> None:
    with pytest.raises(EnvelopeError) as refused:
        admit(head(), sent)
    assert refused.value.code == code


def test_a_header_that_contradicts_the_body_is_refused() -> None:
    with pytest.raises(EnvelopeError) as refused:
        admit(head(headers=[(b"mcp-method", b"tools/list")]), body())
    assert refused.value.code == -32020


def test_h29_what_the_relay_should_have_refused_of_a_trace_is_refused_here_again() -> None:
    headers: Headers = [(b"tracestate", b"a" * 513)]
    with pytest.raises(GateError):
        head(headers=headers)
