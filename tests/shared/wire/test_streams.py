"""The table of a link's streams: ids that only rise, faults that add up, readers that stall."""

import pytest

from shared.errors import PeerError
from shared.wire.events import Event, Late
from shared.wire.limits import LinkLimits
from shared.wire.streams import MAX_CUT, MAX_STREAM_FAULTS, Stream, StreamTable

LIMITS = LinkLimits(stream_window=100, max_streams=3)


def holding(table: StreamTable, stream_id: int, unconsumed: int) -> Stream:
    stream = table.add(stream_id)
    stream.receive.received(unconsumed)
    stream.unconsumed = unconsumed
    return stream


@pytest.mark.parametrize("stream", [0, 1, 4, 5])
def test_an_id_is_above_all_before_it_t17(stream: int) -> None:
    """T17: repeated, falling or zero ids are refused, even when their streams are long over."""
    table = StreamTable(LIMITS)
    table.add(5)
    table.remove(5)
    with pytest.raises(PeerError):
        table.add(stream)


def test_a_late_frame_is_told_from_one_on_a_stream_that_never_was() -> None:
    table = StreamTable(LIMITS)
    table.add(5)
    table.remove(5)
    assert table.expected(5) is table.get(5) is table.expected(3) is None
    with pytest.raises(PeerError):
        table.expected(6)


def test_a_table_is_full_at_its_limit_and_has_room_when_streams_end() -> None:
    table = StreamTable(LIMITS)
    for stream in (1, 2, 3):
        assert not table.full
        table.add(stream)
    assert table.full
    assert len(table) == 3
    table.remove(2)
    table.remove(2)
    assert not table.full


def test_faults_add_up() -> None:
    table = StreamTable(LIMITS)
    for _ in range(MAX_STREAM_FAULTS):
        table.fault()
    with pytest.raises(PeerError):
        table.fault()


def test_what_is_held_is_set_aside_once() -> None:
    table = StreamTable(LIMITS)
    full, part = holding(table, 1, 100), holding(table, 2, 30)
    holding(table, 3, 0)
    assert table.park_stalled(1000) == (130, [])
    assert (full.parked, part.parked) == (100, 30)
    assert table.park_stalled(1000) == (0, [])


def test_without_room_readers_that_let_their_window_fill_are_named_and_others_wait() -> None:
    table = StreamTable(LIMITS)
    full, part = holding(table, 1, 100), holding(table, 2, 30)
    assert table.park_stalled(20) == (0, [full])
    assert table.park_stalled(50) == (30, [full])
    assert part.parked == 30


def test_what_was_cut_is_remembered_within_bounds_and_told_once() -> None:
    table = StreamTable(LinkLimits())
    for stream in range(1, MAX_CUT + 2):
        table.add(stream)
        table.note_cut(stream, f"s{stream}")
        table.remove(stream)
    events: list[Event] = []
    assert table.answered(1, events, b"x") is None
    assert events == [], "the oldest is forgotten"
    assert table.answered(2, events, b"x") is None
    assert table.answered(2, events, b"more") is None
    assert events == [Late("s2", b"x")]
