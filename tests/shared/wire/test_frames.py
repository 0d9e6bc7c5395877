"""Frames and messages: fixed headers, and a refusal for every byte that is not due."""

import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import PeerError, TooBigError
from shared.wire.frames import (
    FLAG_END,
    MAY_END,
    ON_STREAM,
    FrameType,
    decode_frames,
    decode_message_header,
    encode_frame,
    encode_message,
)
from shared.wire.limits import MAX_PAYLOAD_BYTES

HEADER = bytes(16)


def decode(frames: bytes) -> list[tuple[FrameType, int, int, bytes]]:
    return list(decode_frames(HEADER + frames))


def stream_of(kind: FrameType) -> int:
    return 1 if kind in ON_STREAM else 0


FRAMES = st.sampled_from(list(FrameType)).flatmap(
    lambda kind: st.tuples(
        st.just(kind),
        st.sampled_from([0, FLAG_END] if kind in MAY_END else [0]),
        st.integers(1, 2**32 - 1) if kind in ON_STREAM else st.just(0),
        st.binary(max_size=200),
    )
)


@given(st.lists(FRAMES, max_size=10), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_what_is_written_is_read(
    frames: list[tuple[FrameType, int, int, bytes]], sequence: int, ack: int
) -> None:
    encoded = b"".join(
        encode_frame(kind, stream, payload, flags) for kind, flags, stream, payload in frames
    )
    message = encode_message(sequence, ack, encoded)
    assert decode_message_header(message) == (sequence, ack)
    assert list(decode_frames(message)) == frames


@given(st.binary(max_size=300))
def test_any_bytes_are_frames_or_a_documented_error(noise: bytes) -> None:
    try:
        frames = decode(noise)
    except PeerError:
        return
    assert sum(8 + len(payload) for *_, payload in frames) == len(noise)


def test_the_largest_frame_is_64_kib() -> None:
    frame = encode_frame(FrameType.DATA, 1, bytes(MAX_PAYLOAD_BYTES))
    assert len(frame) == 64 * 1024
    assert len(decode(frame)[0][3]) == MAX_PAYLOAD_BYTES


@pytest.mark.parametrize("length", range(MAX_PAYLOAD_BYTES + 1, 2**16))
def test_a_longer_frame_is_refused_t36(length: int) -> None:
    """T36: 1009 for a length over the limit."""
    with pytest.raises(TooBigError):
        decode(struct.pack(">BBHI", FrameType.DATA, 0, length, 1) + bytes(length))


def test_a_length_is_never_believed_before_the_bytes_are_there_t36() -> None:
    """T36: nothing is allocated on the word of a length field."""
    claims = struct.pack(">BBHI", FrameType.DATA, 0, 0xFFFF, 2**32 - 1)
    tracemalloc.start()
    with pytest.raises(PeerError) as caught:
        decode(claims + b"short")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.close_code == 1002
    assert peak < 32 * 1024


@pytest.mark.parametrize("kind", sorted(set(range(256)) - {int(kind) for kind in FrameType}))
def test_an_unknown_type_is_refused_t12(kind: int) -> None:
    """T12: 1002 for what this version does not know."""
    with pytest.raises(PeerError) as caught:
        decode(struct.pack(">BBHI", kind, 0, 0, 0))
    assert caught.value.close_code == 1002


@pytest.mark.parametrize("kind", list(FrameType))
def test_reserved_flags_are_refused_t12(kind: FrameType) -> None:
    """T12: every bit but END, and END where nothing can end."""
    allowed = {0, FLAG_END} if kind in MAY_END else {0}
    for flags in set(range(256)) - allowed:
        with pytest.raises(PeerError):
            decode(encode_frame(kind, stream_of(kind), b"", flags))
    for flags in allowed:
        assert decode(encode_frame(kind, stream_of(kind), b"", flags))


@pytest.mark.parametrize("kind", sorted(set(FrameType) - {FrameType.CREDIT}))
def test_a_frame_stands_on_a_stream_or_on_the_link_never_on_the_other_t17(kind: FrameType) -> None:
    """T17: stream 0 is the link; a frame of a stream on it, or the reverse, is refused."""
    with pytest.raises(PeerError):
        decode(encode_frame(kind, 0 if kind in ON_STREAM else 1))


def test_credit_stands_on_both() -> None:
    assert [
        stream
        for _, _, stream, _ in decode(
            encode_frame(FrameType.CREDIT, 0, b"1234") + encode_frame(FrameType.CREDIT, 7, b"1234")
        )
    ] == [0, 7]


def test_every_truncation_is_refused_t13() -> None:
    """T13: a frame cut anywhere is an error, never a shorter frame."""
    whole = encode_frame(FrameType.DATA, 1, b"payload")
    for cut in range(1, len(whole)):
        with pytest.raises(PeerError):
            decode(whole + whole[:cut])


@pytest.mark.parametrize("size", range(16))
def test_a_message_shorter_than_its_header_is_refused_t13(size: int) -> None:
    """T13: truncated header."""
    with pytest.raises(PeerError):
        decode_message_header(bytes(size))


def test_a_message_may_have_no_frames() -> None:
    assert decode(b"") == []
