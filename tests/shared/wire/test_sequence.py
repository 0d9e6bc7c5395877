"""Frames are counted, and what a peer did not take is there for its next connection."""

import pytest

from shared.errors import PeerError
from shared.wire import sequence
from shared.wire.frames import (
    FrameType,
    decode_frames,
    decode_message_header,
    encode_frame,
    encode_message,
)
from shared.wire.sequence import ACK_EVERY, Sequence

DATA = encode_frame(FrameType.DATA, 1, b"hello")
PING = encode_frame(FrameType.PING, 0, b"8 bytes.")


def test_what_was_not_taken_is_sent_again_with_its_numbers() -> None:
    numbers = Sequence(keeps=True)
    sent = [numbers.wrap(DATA * many, many) for many in (1, 2, 3)]
    numbers.taken = 7
    assert [decode_message_header(one) for one in sent] == [(0, 0), (1, 0), (3, 0)]
    again = numbers.again(1)
    assert again == [encode_message(1, 7, DATA * 2), encode_message(3, 7, DATA * 3)]
    assert numbers.again(6) == []


def test_what_was_acknowledged_is_not_kept() -> None:
    numbers = Sequence(keeps=True)
    for many in (1, 2):
        numbers.wrap(DATA * many, many)
    numbers.check(0, 1)
    assert numbers._kept_bytes == len(encode_message(0, 0, DATA * 2))
    numbers.check(0, 3)
    assert (numbers._kept_bytes, numbers.again(3)) == (0, [])


def test_pings_of_the_connection_before_are_left_out() -> None:
    numbers = Sequence(keeps=True)
    assert numbers.wrap(PING, 0)
    numbers.wrap(DATA + PING, 1)
    (again,) = numbers.again(0)
    assert [kind for kind, *_ in decode_frames(again)] == [FrameType.DATA]


@pytest.mark.parametrize("taken", [0, 2, 4])
def test_a_peer_asks_for_what_is_there(taken: int) -> None:
    """Not for what it acknowledged, the middle of a message, or what was never sent."""
    numbers = Sequence(keeps=True)
    numbers.wrap(DATA, 1)
    numbers.wrap(DATA * 2, 2)
    numbers.check(0, 1)
    with pytest.raises(PeerError):
        numbers.again(taken)


def test_a_peer_that_acknowledges_nothing_is_not_kept_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "MAX_KEPT_BYTES", 100)
    numbers = Sequence(keeps=True)
    while numbers.resumable:
        numbers.wrap(DATA, 1)
    assert numbers._sent == 4
    numbers.wrap(DATA, 1)
    assert numbers._kept_bytes == 0
    numbers.check(0, 5)
    with pytest.raises(PeerError):
        numbers.again(5)


def test_nothing_is_kept_where_nothing_is_resumed() -> None:
    numbers = Sequence()
    numbers.wrap(DATA, 1)
    assert not numbers.resumable


@pytest.mark.parametrize("header", [(1, 0), (0, 2)])
def test_what_breaks_the_order_is_refused(header: tuple[int, int]) -> None:
    numbers = Sequence(keeps=True)
    numbers.wrap(DATA, 1)
    with pytest.raises(PeerError):
        numbers.check(*header)


def test_silence_is_broken_to_acknowledge() -> None:
    numbers = Sequence()
    numbers.taken = ACK_EVERY - 1
    assert numbers.wrap(b"", 0) == b""
    numbers.taken += 1
    assert numbers.wrap(b"", 0) == encode_message(0, ACK_EVERY, b"")
    assert numbers.wrap(b"", 0) == b""
