"""What waits to be sent: control first, streams in rotation, messages of bounded size."""

import pytest

from shared.wire.frames import FLAG_END, Frame, FrameType, decode_frames, encode_message
from shared.wire.limits import KIB, MAX_FRAME_BYTES, MIB
from shared.wire.outbox import PAUSE_BYTES, RESUME_BYTES, SMALL_BYTES, Outbox, SendQueue
from shared.wire.windows import FlowControlError

FLUSH = 128 * KIB


def make(link: int = 16 * MIB, flush: int = FLUSH) -> Outbox:
    return Outbox(link, flush)


def frames(taken: bytes) -> list[Frame]:
    return list(decode_frames(encode_message(0, 0, taken)))


def drain(outbox: Outbox) -> tuple[list[list[Frame]], list[int]]:
    """Return all messages as frames, and which streams became writable."""
    messages: list[list[Frame]] = []
    writable: list[int] = []
    while (taken := outbox.take(writable))[0]:
        got = frames(taken[0])
        assert taken[1] == sum(kind is not FrameType.PING for kind, *_ in got)
        messages.append(got)
    return messages, writable


def streams(messages: list[list[Frame]]) -> list[int]:
    return [stream for message in messages for _, _, stream, _ in message]


def test_nothing_to_send_is_no_message() -> None:
    assert make().take([]) == (b"", 0)


def test_what_is_queued_in_one_turn_leaves_as_one_message() -> None:
    outbox = make()
    outbox.put(FrameType.HEAD, 1, b"200")
    outbox.put_data(SendQueue(1, KIB), b"hello", end=True)
    outbox.put(FrameType.RESET, 2, b"\0\1")
    (message,), _ = drain(outbox)
    assert [(kind, stream) for kind, _, stream, _ in message] == [
        (FrameType.HEAD, 1),
        (FrameType.DATA, 1),
        (FrameType.RESET, 2),
    ]


def test_pings_leave_with_the_rest_but_are_not_numbered() -> None:
    outbox = make()
    outbox.put_unnumbered(FrameType.PING, b"8 bytes.")
    outbox.put(FrameType.HEAD, 1, b"200")
    assert outbox.take([])[1] == 1


def test_a_small_body_goes_straight_behind_its_head() -> None:
    outbox, queue = make(), SendQueue(1, SMALL_BYTES)
    assert outbox.put_data(queue, b"x" * SMALL_BYTES, end=True)
    assert (queue.window.available, queue.bytes, queue.queued) == (0, 0, False)
    assert frames(outbox.take([])[0]) == [(FrameType.DATA, FLAG_END, 1, b"x" * SMALL_BYTES)]


def test_bulk_streams_take_turns_frame_by_frame() -> None:
    outbox = make()
    for stream in (1, 2, 3):
        outbox.put_data(SendQueue(stream, MIB), b"x" * (200 * KIB), end=True)
    messages, _ = drain(outbox)
    assert streams(messages) == [1, 2, 3] * 4


def test_a_small_stream_waits_for_one_message_of_a_bulk_stream_at_most() -> None:
    outbox = make()
    outbox.put_data(SendQueue(1, 16 * MIB), b"x" * (8 * MIB), end=True)
    outbox.take([])
    outbox.put(FrameType.HEAD, 2, b"200")
    outbox.put_data(SendQueue(2, MIB), b"small", end=True)
    assert [stream for _, _, stream, _ in frames(outbox.take([])[0])][:2] == [2, 2]


def test_no_message_is_larger_than_a_flush_and_one_frame() -> None:
    outbox = make()
    for stream in range(1, 20):
        outbox.put_data(SendQueue(stream, MIB), b"x" * (300 * KIB), end=True)
    while taken := outbox.take([])[0]:
        assert len(taken) < FLUSH + MAX_FRAME_BYTES


def test_many_heads_queued_at_once_leave_in_messages_of_bounded_size_and_in_order() -> None:
    outbox = make()
    for stream in range(1, 101):
        outbox.put(FrameType.OPEN, stream, b"h" * (40 * KIB))
        outbox.put_unnumbered(FrameType.PING, b"8 bytes.")
    outbox.put_data(SendQueue(101, MIB), b"x" * (100 * KIB), end=True)
    messages, _ = drain(outbox)
    assert all(
        sum(8 + len(f[3]) for f in message) < FLUSH + MAX_FRAME_BYTES for message in messages
    )
    assert [s for s in streams(messages) if s] == [*range(1, 101), 101, 101]


def test_credit_of_the_stream_and_of_the_link_both_hold_bytes_back() -> None:
    outbox = make(link=3 * KIB)
    first, second = SendQueue(1, 2 * KIB), SendQueue(2, 2 * KIB)
    for queue in (first, second):
        outbox.put_data(queue, b"x" * (20 * KIB), end=False)
    messages, _ = drain(outbox)
    assert [(f[2], len(f[3])) for f in messages[0]] == [(1, 2 * KIB), (2, KIB)]
    assert outbox.link.available == first.window.available == 0
    outbox.link.add(KIB)
    messages, _ = drain(outbox)
    assert streams(messages) == [2]


def test_credit_brings_a_waiting_stream_back_into_the_rotation() -> None:
    outbox, queue = make(), SendQueue(1, 0)
    outbox.put_data(queue, b"x" * 100, end=True)
    assert drain(outbox) == ([], [])
    assert not queue.queued
    outbox.credit(queue, 60)
    outbox.credit(queue, 40)
    messages, _ = drain(outbox)
    assert messages == [[(FrameType.DATA, FLAG_END, 1, b"x" * 100)]]
    assert outbox.finished == [1]


def test_an_end_without_bytes_needs_no_credit() -> None:
    outbox, queue = make(link=0), SendQueue(1, 0)
    outbox.put_data(queue, b"", end=True)
    assert drain(outbox)[0] == [[(FrameType.DATA, FLAG_END, 1, b"")]]


def test_an_end_behind_waiting_bytes_leaves_with_the_last_of_them() -> None:
    outbox, queue = make(), SendQueue(1, 10)
    outbox.put_data(queue, b"x" * 20, end=False)
    outbox.put_data(queue, b"", end=True)
    assert drain(outbox)[0] == [[(FrameType.DATA, 0, 1, b"x" * 10)]]
    outbox.credit(queue, 10)
    assert drain(outbox)[0] == [[(FrameType.DATA, FLAG_END, 1, b"x" * 10)]]


def test_a_full_stream_asks_for_a_pause_and_says_when_there_is_room_again() -> None:
    outbox, queue = make(flush=64 * KIB), SendQueue(1, MIB)
    assert outbox.put_data(queue, b"x" * PAUSE_BYTES, end=False)
    assert not outbox.put_data(queue, b"x", end=False)
    writable: list[int] = []
    while queue.bytes > RESUME_BYTES:
        assert writable == []
        outbox.take(writable)
    assert writable == [1]
    assert outbox.put_data(queue, b"x", end=False)


def test_a_dropped_stream_sends_nothing_more_and_holds_up_nobody() -> None:
    outbox, dropped, other = make(link=KIB), SendQueue(1, MIB), SendQueue(2, MIB)
    outbox.put_data(dropped, b"x" * (100 * KIB), end=True)
    outbox.put_data(other, b"y" * (100 * KIB), end=True)
    outbox.drop(dropped)
    messages, _ = drain(outbox)
    assert streams(messages) == [2]
    assert (dropped.bytes, dropped.queued, len(dropped.chunks)) == (0, False, 0)


def test_chunks_are_joined_and_cut_to_frames_without_losing_a_byte() -> None:
    outbox, queue = make(), SendQueue(1, 16 * MIB)
    sent = bytes(range(256)) * 400
    outbox.put_data(queue, sent[:20_000], end=False)
    for at in range(20_000, len(sent), 1000):
        outbox.put_data(queue, sent[at : at + 1000], end=False)
    outbox.put_data(queue, b"", end=True)
    messages, _ = drain(outbox)
    assert b"".join(payload for message in messages for _, _, _, payload in message) == sent


@pytest.mark.parametrize("credit", [0, 2**31])
def test_credit_that_cannot_be_counted_is_refused(credit: int) -> None:
    with pytest.raises(FlowControlError):
        make().credit(SendQueue(1, 1), credit)
