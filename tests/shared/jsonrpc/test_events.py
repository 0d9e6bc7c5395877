"""The lines of one event, whatever ends them, and the event written anew."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.jsonrpc.events import data_of, lines_of, rewritten

BOM = b"\xef\xbb\xbf"
pieces = st.sampled_from(
    [b"data: a", b"data:b", b"data", b"id: 1", b":", b"\r", b"\n", b"\r\n", BOM]
)


@given(st.lists(pieces, max_size=20).map(b"".join), st.booleans())
def test_the_lines_are_the_event_to_the_byte(event: bytes, first: bool) -> None:
    lines = lines_of(event, first)
    assert b"".join(line.text + line.end for line in lines) == event
    assert not any(end in line.text for line in lines for end in (b"\r", b"\n"))
    assert all(line.end in (b"\r", b"\n", b"\r\n") for line in lines[:-1])


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"", None),
        (b"id: 1\n\n", None),
        (b"data\n\n", b""),
        (b"data:\n\n", b""),
        (b"data: a\rdata:  b\r\ndata:c\n\n", b"a\n b\nc"),
        (b"database: a\n\n", None),
        (b" data: a\n\n", None),
    ],
)
def test_the_data_of_an_event_are_its_lines_of_data(event: bytes, data: bytes | None) -> None:
    assert data_of(lines_of(event, first=False)) == data


def test_a_byte_order_mark_counts_at_the_beginning_of_the_body_alone() -> None:
    event = BOM + b"data: a\n" + BOM + b"data: b\n\n"
    assert data_of(lines_of(event, first=True)) == b"a"
    assert data_of(lines_of(event, first=False)) is None


def test_other_data_stand_where_the_first_stood_and_the_rest_stays() -> None:
    event = b"id: 1\r\ndata: a\revent: message\ndata: b\n\r\n"
    made = rewritten(lines_of(event, first=True), b"{}")
    assert made == b"id: 1\r\ndata: {}\revent: message\n\r\n"


@pytest.mark.parametrize("kept", [b"id: 1\r\n", b"retry: 10\n"])
def test_without_data_an_event_keeps_what_is_for_resuming(kept: bytes) -> None:
    event = b"event: message\n" + kept + b"data: a\n: said\n\r\n"
    assert rewritten(lines_of(event, first=False), b"") == kept + b": said\n\r\n"


def test_without_data_and_all_else_nothing_is_left() -> None:
    assert rewritten(lines_of(b": said\ndata: a\n\n", first=False), b"") == b""
