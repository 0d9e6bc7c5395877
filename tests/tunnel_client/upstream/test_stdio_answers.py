import json

import pytest

from tests.helpers.upstream_peer import KeptReply
from tunnel_client.upstream.base import UpstreamRequest
from tunnel_client.upstream.stdio_answers import (
    NotJsonError,
    accepts,
    one_line,
    read_message,
    refuse_unsent,
)
from tunnel_client.upstream.stdio_pool import RefusedError


@pytest.mark.parametrize(
    ("values", "taken"),
    [
        ([b"application/json, text/event-stream"], (True, True)),
        ([b"application/json", b"text/event-stream"], (True, True)),
        ([b"TEXT/*;q=0.5 , application/*"], (True, True)),
        ([b"*/*"], (True, True)),
        ([b"application/json"], (True, False)),
        ([b"text/html"], (False, False)),
        ([], (False, False)),
    ],
)
def test_accept_is_read_with_wildcards(values: list[bytes], taken: tuple[bool, bool]) -> None:
    headers = [(b"accept", value) for value in values]
    assert accepts(UpstreamRequest("POST", headers, b"", None, "s", None)) == taken


@pytest.mark.parametrize(
    "line",
    [b"", b"hello", b"[1]", b"null", b'{"id":1}', b'{"jsonrpc":"2.0"', b"\xff\xfe", b"[" * 9999],
)
def test_what_is_no_message_is_one_documented_error(line: bytes) -> None:
    with pytest.raises(NotJsonError):
        read_message(line)


def test_breaks_between_tokens_go_and_those_in_texts_stay() -> None:
    body = b'{"a":\r\n "x\\ny"}\r'
    assert json.loads(one_line(body)) == {"a": "x\ny"}
    assert b"\r" not in one_line(body)
    assert b"\n" not in one_line(body)


def test_an_answer_without_a_process_says_that_nothing_was_sent() -> None:
    reply = KeptReply()
    request = UpstreamRequest("GET", [], b"", None, "s", None)
    refuse_unsent(reply, request, RefusedError("why", 0.2))
    assert (reply.status, reply.headers[b"retry-after"]) == (503, b"1")
    assert reply.last["error"]["data"]["delivery"] == "never_sent"
    assert reply.last["id"] is None
