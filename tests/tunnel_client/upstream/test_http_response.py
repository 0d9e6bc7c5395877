"""Responses are read the same however they are cut, and never without end."""

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tunnel_client.upstream.http_support import response
from tunnel_client.upstream.http_response import (
    BrokenResponseError,
    LastHead,
    RefusedResponseError,
    ResponseReader,
    read_head,
)
from tunnel_client.upstream.http_target import HttpLimits

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def read(*reads: bytes) -> ResponseReader:
    reader = ResponseReader(HttpLimits(), LastHead())
    pieces = []
    for data in reads:
        reader.feed(data)
        pieces += reader.pieces
        reader.pieces = []
    reader.pieces = pieces
    return reader


def headers(reader: ResponseReader) -> dict[bytes, bytes]:
    assert reader.head is not None
    assert len(dict(reader.head.headers)) == len(reader.head.headers)
    return dict(reader.head.headers)


def test_a_response_with_a_length() -> None:
    reader = read(response(b"Content-Type: application/json", b"X-A:  1 \t"))
    assert headers(reader) == {
        b"content-type": b"application/json",
        b"x-a": b"1",
        b"content-length": b"2",
    }
    assert reader.pieces == [b"{}"]
    assert reader.complete
    assert reader.reusable


def test_a_response_in_chunks_loses_the_chunks_and_the_trailers() -> None:
    reader = read(CHUNKED + b"2\r\nab\r\n3;x=y\r\ncde\r\n0\r\nX-Trailer: 1\r\n\r\n")
    assert headers(reader) == {}
    assert b"".join(reader.pieces) == b"abcde"
    assert reader.complete
    assert reader.reusable


def test_interim_responses_are_passed_over() -> None:
    reader = read(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + response()
    )
    assert headers(reader) == {b"content-length": b"2"}
    assert reader.complete
    assert reader.reusable


@pytest.mark.parametrize(
    "line",
    [
        *(b"Connection: keep-alive", b"Keep-Alive: timeout=5", b"Proxy-Authenticate: Basic"),
        *(b"Upgrade: h2c", b"Trailer: X-T", b"TE: x", b"Set-Cookie: a=b", b"SET-COOKIE: a=b"),
        *(b"WWW-Authenticate: Bearer secret", b"Server: x", b"Date: today", b"Location: http://x"),
        *(
            b"Content-Location: /x",
            b"Refresh: 0;url=http://x",
            b"Alt-Svc: h2",
            b"Mcp-Session-Id: U",
        ),
        *(b"Access-Control-Allow-Origin: *", b"Content-Encoding: identity"),
    ],
)
def test_what_is_not_for_the_agent_is_dropped(line: bytes) -> None:
    assert headers(read(response(line))) == {b"content-length": b"2"}


def test_what_connection_names_is_dropped_too() -> None:
    reader = read(response(b"X-A: 1", b"Connection: X-A, x-b", b"X-B: 2", b"X-C: 3"))
    assert headers(reader) == {b"x-c": b"3", b"content-length": b"2"}


def test_the_upstreams_mcp_session_id_is_kept_apart() -> None:
    reader = read(response(b"Mcp-Session-Id: U-1"))
    assert reader.head is not None
    assert reader.head.mcp_session == b"U-1"


@pytest.mark.parametrize("kind", [b"text/event-stream", b"Text/Event-Stream; charset=utf-8"])
def test_event_streams_are_known(kind: bytes) -> None:
    reader = read(CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Type: " + kind + b"\r\n\r\n"))
    assert reader.head is not None
    assert reader.head.event_stream
    assert not reader.complete


@pytest.mark.parametrize("status", [b"301 M", b"302 F", b"303 S", b"307 T", b"308 P", b"304 N"])
def test_redirects_are_refused(status: bytes) -> None:
    with pytest.raises(RefusedResponseError, match="redirect") as caught:
        read(response(b"Location: http://attacker.example/", status=status))
    assert "attacker" not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        *(b"Content-Encoding: gzip", b"Content-Encoding: identity, br"),
        *(b"Content-Type: application/json; charset=utf-7", b"Content-Type: a/b; charset=UTF-16"),
        *(b"Mcp-Session-Id: a\r\nMcp-Session-Id: b", b"X-Big: " + b"x" * 33_000),
        b"\r\n".join(b"X-%d: 1" % n for n in range(100)),
    ],
)
def test_what_is_never_passed_on_is_refused(line: bytes) -> None:
    with pytest.raises(RefusedResponseError):
        read(response(line))


@pytest.mark.parametrize(
    "kinds",
    [
        *([b"application/json", b"text/event-stream"], [b"text/event-stream", b"application/json"]),
        *([b"application/json"] * 2, [b"text/event-stream, application/json"]),
        *([b"text/event-stream; application/json"], [b"application/json; text/event-stream"]),
        *([b"text/event-streams"], [b"Text/Event-Stream; x=JSON"], [b"application/json,"]),
    ],
)
def test_p14_an_answer_that_is_two_things_at_once_is_refused(kinds: list[bytes]) -> None:
    """One is looked through for tools nobody pinned, and the agent would read the other."""
    lines = [b"Content-Type: " + kind for kind in kinds]
    with pytest.raises(RefusedResponseError, match="content type"):
        read(response(*lines))


@pytest.mark.parametrize("coding", [b"gzip", b"chunked, gzip", b"gzip, chunked", b"identity"])
def test_other_transfer_codings_are_refused(coding: bytes) -> None:
    with pytest.raises((RefusedResponseError, BrokenResponseError)):
        read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n")


BROKEN = [
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"HTTP/1.1 abc OK\r\n\r\n",
    b"HTTP/1.1 20 OK\r\n\r\n",
    b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nraw",
    b"HTTP/1.1 101 Switching\r\n\r\nraw",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nab",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nab",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    CHUNKED + b"zz\r\nab\r\n",
    CHUNKED + b"2\r\nabcd\r\n0\r\n\r\n",
    CHUNKED + b"-2\r\nab\r\n",
    CHUNKED + b"fffffffffffffffff\r\nab\r\n",
]


@pytest.mark.parametrize("data", BROKEN)
def test_what_is_not_http_1_1_is_an_error_however_it_is_cut(data: bytes) -> None:
    with pytest.raises(BrokenResponseError):
        read(data)
    with pytest.raises(BrokenResponseError):
        read(*(data[i : i + 1] for i in range(len(data))))


@pytest.mark.parametrize(
    "tail",
    [b"X", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\n", response(), b"\0\0", b"HTTP/1.1 100 C\r\n\r\n"],
)
def test_bytes_after_the_end_spoil_the_connection_not_the_response(tail: bytes) -> None:
    reader = read(response(body=b"good") + tail)
    assert reader.pieces == [b"good"]
    assert reader.complete
    assert not reader.reusable


@pytest.mark.parametrize("line", [b"Connection: close", b"connection: Close"])
def test_a_connection_that_will_close_is_not_reused(line: bytes) -> None:
    assert not read(response(line)).reusable


def test_http_1_0_closes_unless_it_says_otherwise() -> None:
    assert not read(response().replace(b"HTTP/1.1", b"HTTP/1.0")).reusable
    assert read(response(b"Connection: keep-alive").replace(b"/1.1", b"/1.0")).reusable


def test_without_length_and_chunks_the_end_of_input_ends_the_body() -> None:
    reader = read(response(length=False, body=b"abc"), b"def")
    assert b"".join(reader.pieces) == b"abcdef"
    assert not reader.complete
    assert (reader.end_of_input(), reader.complete, reader.reusable) == (True, True, False)


def test_the_end_of_input_does_not_complete_what_has_a_length() -> None:
    assert not read(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab").end_of_input()
    assert not read(CHUNKED + b"2\r\nab\r\n").end_of_input()
    assert not read(b"HTTP/1.1 200 OK\r\nX: ").end_of_input()


def test_no_content_has_neither_body_nor_length() -> None:
    reader = read(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
    assert headers(reader) == {}
    assert reader.complete
    assert read(b"HTTP/1.1 204 No Content\r\n\r\n").reusable


def endless(start: bytes, more: bytes) -> int:
    """Return how many bytes a reader took before it gave up; at most 10 MB."""
    reader = ResponseReader(HttpLimits(), LastHead())
    reader.feed(start)
    for taken in range(0, 10_000_000, len(more)):
        try:
            reader.feed(more)
        except (BrokenResponseError, RefusedResponseError):
            return taken
    return 10_000_000


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"HTTP/1.1 200 ", b"O" * 1000),
        (b"HTTP/1.1 200 OK\r\nX", b"x" * 1000),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x" * 1000),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 100),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 10),
        (b"", b"\r\n" * 500),
        (CHUNKED, b"0" * 1000),
        (CHUNKED + b"1;", b"x" * 1000),
        (CHUNKED + b"0\r\nX", b"x" * 1000),
        (CHUNKED + b"0\r\nX: ", b"x" * 1000),
        (CHUNKED + b"0\r\n", b"X: y\r\n" * 100),
    ],
)
def test_nothing_but_a_body_is_endless(start: bytes, more: bytes) -> None:
    assert endless(start, more) < 100_000


def test_a_connection_is_read_response_after_response() -> None:
    reader = ResponseReader(HttpLimits(), LastHead())
    for n in range(3):
        reader.begin()
        reader.feed(response(b"X-N: %d" % n, body=b"%d" % n))
        assert headers(reader)[b"x-n"] == b"%d" % n
        assert reader.pieces == [b"%d" % n]
        assert reader.reusable


def test_the_memory_of_names_is_bounded_and_goes_on_to_work() -> None:
    for n in range(3000):
        got = headers(read(response(b"X-Name-%d: 1" % n, b"Set-Cookie: a")))
        assert got == {b"x-name-%d" % n: b"1", b"content-length": b"2"}


WHOLE = (
    b"HTTP/1.1 100 Continue\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-A: 1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nT: 1\r\n\r\n"
)


@given(st.lists(st.integers(0, len(WHOLE)), max_size=12))
def test_the_cuts_between_reads_do_not_matter(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(WHOLE)]
    reads = [WHOLE[a:b] for a, b in itertools.pairwise(edges)]
    reader = read(*reads)
    assert headers(reader) == {b"content-type": b"text/event-stream", b"x-a": b"1"}
    assert b"".join(reader.pieces) == b"hello world"
    assert reader.complete
    assert reader.reusable


@given(st.lists(st.binary(max_size=40), max_size=10), st.booleans())
def test_any_bytes_end_in_a_response_or_a_documented_error(reads: list[bytes], start: bool) -> None:
    with contextlib.suppress(BrokenResponseError, RefusedResponseError):
        read(*([b"HTTP/1.1 200 OK\r\n"] if start else []), *reads)


def test_a_head_that_comes_again_reads_the_same_but_for_its_length() -> None:
    last = LastHead()
    first = ResponseReader(HttpLimits(), last)
    first.feed(response(b"X-N: 1", b"Set-Cookie: secret", body=b"one"))
    for body in (b"two", b"a longer one", b"\r\n\r\n"):
        again = ResponseReader(HttpLimits(), last)
        again.feed(response(b"X-N: 1", b"Set-Cookie: secret", body=body))
        assert (again.pieces, again.complete, again.reusable) == ([body], True, True)
        assert headers(again) == {b"x-n": b"1"}


@pytest.mark.parametrize(
    "other",
    [
        response(b"X-N: 2", body=b"two"),
        response(b"X-N: 1", body=b"cut")[:-1],
        response(b"X-N: 1", body=b"more") + b"!",
        response(b"X-N: 1", body=b"x" * 20_000),
        response(b"X-N: 1", body=b"ten bytes!").replace(b": 10", b": +10"),
    ],
)
def test_what_differs_from_the_last_head_is_parsed(other: bytes) -> None:
    def outcome(last: LastHead) -> object:
        reader = ResponseReader(HttpLimits(), last)
        try:
            reader.feed(other)
        except BrokenResponseError as error:
            return str(error)
        return headers(reader), reader.pieces, reader.complete, reader.reusable

    last = LastHead()
    ResponseReader(HttpLimits(), last).feed(response(b"X-N: 1", body=b"one"))
    assert last.repeated is not None
    assert outcome(last) == outcome(LastHead())


def test_the_start_of_an_mcp_session_is_never_repeated() -> None:
    last = LastHead()
    ResponseReader(HttpLimits(), last).feed(response(b"Mcp-Session-Id: one"))
    assert last.repeated is None


@pytest.mark.parametrize("name", [b"baggage", b"TraceState"])
def test_traces_bring_nothing_out(name: bytes) -> None:
    """Row C20."""
    assert read_head(200, [(name, b"x=1")]).headers == []
