"""Frames and messages: fixed binary headers around opaque bytes (docs/protocol.md section 3).

A message is what one WebSocket message carries: a header of 16 bytes (`sequence`, `ack`) and whole
frames. A frame is a header of 8 bytes (`type`, `flags`, `length`, `stream`) and its payload.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum

from shared.errors import PeerError, TooBigError
from shared.wire.limits import (
    FRAME_HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    MESSAGE_HEADER_BYTES,
)

MESSAGE_HEADER = struct.Struct(">QQ")
FRAME_HEADER = struct.Struct(">BBHI")
U32 = struct.Struct(">I")
U16 = struct.Struct(">H")

FLAG_END = 0x01
"""This frame ends its direction of the stream: no END frame of its own is spent on it."""


class FrameType(IntEnum):
    """Frame types; never renumbered. What is absent is a protocol error."""

    HELLO = 0x01
    CHALLENGE = 0x02
    PROOF = 0x03
    READY = 0x04
    OPEN = 0x10
    HEAD = 0x11
    DATA = 0x12
    RESET = 0x13
    CREDIT = 0x14
    REQUEST = 0x15
    """OPEN, a small whole body and the end, in one frame."""
    RESPONSE = 0x16
    """HEAD, a small whole body and the end, in one frame."""
    PING = 0x20
    PONG = 0x21
    DRAIN = 0x22
    CATALOG = 0x23
    REVOKE = 0x24
    REVOKED = 0x25
    GRANT = 0x26
    """What a session is, signed by the relay; before the first stream that names it."""
    TOOLS = 0x27
    """What the client says of the tools of an upstream; a part of it, or the whole."""


HANDSHAKE = frozenset((FrameType.HELLO, FrameType.CHALLENGE, FrameType.PROOF, FrameType.READY))
UNNUMBERED = HANDSHAKE | {FrameType.PING, FrameType.PONG}
"""Frames outside the sequence: after a cut they are never sent again."""
ON_STREAM = frozenset(
    (
        *(FrameType.OPEN, FrameType.HEAD, FrameType.DATA, FrameType.RESET),
        *(FrameType.REQUEST, FrameType.RESPONSE),
    )
)
MAY_END = frozenset((FrameType.OPEN, FrameType.HEAD, FrameType.DATA))

_VALID: dict[int, tuple[FrameType, int]] = {
    kind << 8 | flags: (kind, flags)
    for kind in FrameType
    for flags in ((0, FLAG_END) if kind in MAY_END else (0,))
}
"""Every allowed pair of type and flags by the two bytes they are: one look-up a frame."""
_pack_frame = FRAME_HEADER.pack
_unpack_frame = struct.Struct(">HHI").unpack_from

Frame = tuple[FrameType, int, int, bytes]
"""Type, flags, stream and payload."""


def encode_frame(kind: FrameType, stream: int, payload: bytes = b"", flags: int = 0) -> bytes:
    """Return one frame; the caller keeps `payload` within MAX_PAYLOAD_BYTES."""
    return _pack_frame(kind, flags, len(payload), stream) + payload


def encode_message(sequence: int, ack: int, frames: bytes) -> bytes:
    """Return one message around encoded frames."""
    return MESSAGE_HEADER.pack(sequence, ack) + frames


def decode_message_header(message: bytes) -> tuple[int, int]:
    """Return `sequence` and `ack` of a message; raises PeerError."""
    if len(message) < MESSAGE_HEADER_BYTES:
        raise PeerError("message shorter than its header")
    sequence, ack = MESSAGE_HEADER.unpack_from(message)
    return sequence, ack


def decode_frames(message: bytes) -> Iterator[Frame]:
    """Yield the frames of a message in order; raises PeerError where the bytes end too early.

    Nothing is allocated on the word of a length field: a payload is a slice of what is there.
    """
    at, size = MESSAGE_HEADER_BYTES, len(message)
    while at < size:
        start = at + FRAME_HEADER_BYTES
        if start > size:
            raise PeerError("frame header cut short")
        kind_and_flags, length, stream = _unpack_frame(message, at)
        at = start + length
        if at > size:
            raise PeerError("frame payload cut short")
        known = _VALID.get(kind_and_flags)
        if known is None:
            raise PeerError(f"unknown frame type and flags {kind_and_flags:#06x}")
        kind, flags = known
        if length > MAX_PAYLOAD_BYTES:
            raise TooBigError("frame over 64 KiB")
        if (stream != 0) is not (kind in ON_STREAM) and kind is not FrameType.CREDIT:
            raise PeerError(f"{kind.name} on stream {stream}")
        yield kind, flags, stream, message[start:at]
