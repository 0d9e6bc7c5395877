"""Server-sent events, however their bytes are cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel_client.connect.events import (
    LONGEST_PAUSE,
    SHORTEST_PAUSE,
    Event,
    EventReader,
    EventTooLargeError,
)

STREAM = (
    b"\xef\xbb\xbf: comment\r\n\r\nid: 1\nretry: 250\ndata:\n\n"
    b"event: message\rdata: {\rdata:  1}\rid\r\rdata: \xc3\xa4\n\ndata: cut"
)
EVENTS = [
    Event("", b"", "1", 250),
    Event("message", b"{\n 1}", "", None),
    Event("", "ä".encode(), None, None),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_the_events_are_the_same_wherever_the_stream_is_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    reader = EventReader()
    found = [
        event
        for start, end in itertools.pairwise(edges)
        for event in reader.feed(STREAM[start:end])
    ]
    assert found == EVENTS


@given(st.binary(max_size=300))
def test_any_bytes_end_in_events_or_nothing(data: bytes) -> None:
    for event in EventReader().feed(data):
        assert isinstance(event.data, bytes)


@pytest.mark.parametrize("chunk", [b"data: " + b"x" * 2000, b"data:\n" * 40, b"x" * 2000])
def test_an_event_has_a_largest_size(chunk: bytes) -> None:
    reader = EventReader(limit=1024)
    with pytest.raises(EventTooLargeError):
        reader.feed(chunk)


def test_many_small_events_are_no_large_one() -> None:
    reader = EventReader(limit=1024)
    assert len(reader.feed(b"data: x\n\n" * 1000)) == 1000


@pytest.mark.parametrize("line", [b"retry: x", b"retry: 12345678901", b"id: a\0b", b"unknown: 1"])
def test_a_field_that_means_nothing_is_left_out(line: bytes) -> None:
    assert EventReader().feed(line + b"\n\n") == []


@pytest.mark.parametrize(
    ("retry", "pause"),
    [(None, None), (0, SHORTEST_PAUSE), (1, SHORTEST_PAUSE), (250, 0.25), (10**8, LONGEST_PAUSE)],
)
def test_a_server_does_not_make_us_ask_without_end(retry: int | None, pause: float | None) -> None:
    assert Event("", b"", None, retry).pause == pause
