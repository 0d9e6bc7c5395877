"""A head known by its bytes never means anything but what the parser took it for."""

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.repeated import RepeatedHead

HEAD = b"POST /t/a/b/mcp HTTP/1.1\r\nHost: r\r\nContent-Length: %d\r\nX: 1\r\n\r\n"


def message(body: bytes) -> bytes:
    return HEAD % len(body) + body


class Reading:
    """What httptools makes of one message that comes in one read."""

    def __init__(self, data: bytes) -> None:
        self.body = b""
        self.messages = 0
        self.sound = True
        try:
            httptools.HttpRequestParser(self).feed_data(data)
        except httptools.HttpParserError:
            self.sound = False

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.messages += 1


KNOWN = RepeatedHead.of(message(b"first"), b"first")


@pytest.mark.parametrize("body", [b"x", b"other", b"a longer body than the first", b""])
def test_only_the_length_may_differ(body: bytes) -> None:
    assert KNOWN is not None
    assert KNOWN.body_of(message(body)) == body


@pytest.mark.parametrize(
    "other",
    [
        b"",
        message(b"body")[:-1],
        message(b"body") + b"!",
        message(b"body") + message(b"body"),
        message(b"body").replace(b"POST", b"GET"),
        message(b"body").replace(b"X: 1", b"X: 2"),
        message(b"body").replace(b": 4", b": +4"),
        message(b"body").replace(b": 4", b": 4 "),
        message(b"body").replace(b": 4", b": "),
        message(b"body").replace(b": 4", b": 0000000004"),
        message(b"body").replace(b": 4", b": 4\r\nContent-Length: 4"),
    ],
)
def test_anything_else_is_for_the_parser(other: bytes) -> None:
    assert KNOWN is not None
    assert KNOWN.body_of(other) is None


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        (message(b""), b""),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", b"body"),
        (b"POST / HTTP/1.1\r\nX: \r\n\r\nContent-Length: 4\r\n\r\nbody", b"body"),
        (b"POST / HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nbody", b"body"),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nbody", b"body"),
        (b"POST / HTTP/1.1\r\nX-Content-Length: 4\r\n\r\nbody", b"body"),
        (b"POST / HTTP/1.1\nContent-Length: 4\n\nbody", b"body"),
        (message(b"body") + b"rest", b"body"),
        (message(b"body").replace(b": 4", b": " + b"0" * 5000 + b"4"), b"body"),
    ],
)
def test_messages_framed_in_another_way_are_not_kept(sent: bytes, body: bytes) -> None:
    assert RepeatedHead.of(sent, body) is None


LINES = st.sampled_from(
    [b"Content-Length: %d", b"content-length:%d", b"X: 1", b"Content-Length : %d", b" fold: %d"]
)


@given(
    st.lists(LINES, max_size=4),
    st.binary(min_size=1, max_size=12),
    st.binary(max_size=12),
    st.sampled_from([b"", b"x", b"\r\n"]),
)
@example([b"Content-Length: %d"], b"a", b"bcdef", b"")
def test_what_is_kept_reads_as_the_parser_reads_it(
    lines: list[bytes], first: bytes, then: bytes, extra: bytes
) -> None:
    def written(body: bytes) -> bytes:
        fields = [b"POST / HTTP/1.1", *(x % len(body) if b"%" in x else x for x in lines)]
        return b"\r\n".join([*fields, b"", b""]) + body

    read = Reading(written(first))
    if not read.sound or read.messages != 1:
        return
    known = RepeatedHead.of(written(first), read.body)
    if known is None:
        return
    found = known.body_of(written(then) + extra)
    again = Reading(written(then) + extra)
    assert found is None or (again.sound, again.messages, again.body) == (True, 1, found)
