"""The wire never changes by accident: every frame type against bytes written down once."""

import pytest

from shared import grant
from shared.wire import codec, handshake
from shared.wire.frames import FrameType, decode_frames, decode_message_header, encode_frame
from shared.wire.tools import decode_tools
from tests.shared.wire import golden


@pytest.mark.parametrize("kind", list(FrameType))
def test_every_frame_type_is_written_and_read_as_it_always_was(kind: FrameType) -> None:
    stream, flags, payload = golden.PAYLOADS[kind]
    assert encode_frame(kind, stream, payload, flags).hex() == golden.HEX[kind]
    (got,) = decode_frames(bytes(16) + bytes.fromhex(golden.HEX[kind]))
    assert got == (kind, flags, stream, payload)


def payload(kind: FrameType) -> bytes:
    return bytes.fromhex(golden.HEX[kind])[8:]


def test_payloads_say_what_they_always_said() -> None:
    assert handshake.decode_hello(payload(FrameType.HELLO)) == golden.HELLO
    assert handshake.decode_challenge(payload(FrameType.CHALLENGE)) == golden.CHALLENGE
    assert codec.decode_open(payload(FrameType.OPEN)) == golden.OPEN
    assert codec.decode_head(payload(FrameType.HEAD)) == (200, [(b"content-type", b"text/plain")])
    head, body = codec.decode_whole(payload(FrameType.REQUEST))
    assert (codec.decode_open(head), body) == (golden.OPEN, b"hello")
    head, body = codec.decode_whole(payload(FrameType.RESPONSE))
    assert (codec.decode_head(head), body) == ((200, []), b"hello")
    assert codec.decode_reset(payload(FrameType.RESET)) == (1, "gone")
    assert codec.decode_credit(payload(FrameType.CREDIT)) == 65536
    assert codec.decode_detail(payload(FrameType.DRAIN)) == "moving"
    assert codec.decode_catalog(payload(FrameType.CATALOG)) == ["git", "time"]
    assert codec.decode_revoke(payload(FrameType.REVOKE)) == (7, golden.SESSION)
    assert codec.decode_revoked(payload(FrameType.REVOKED)) == (7, 3)
    assert decode_tools(payload(FrameType.TOOLS)).tools == [golden.TOOL]
    granted = grant.decode(payload(FrameType.GRANT), golden.RELAY_KEY.public)
    assert granted == golden.GRANT


def test_a_head_with_a_permit_is_written_and_read_as_it_always_was() -> None:
    written = bytes.fromhex(golden.OPEN_WITH_PERMIT)
    assert codec.encode_open(golden.WITH_PERMIT) == written
    assert codec.decode_open(written) == golden.WITH_PERMIT


def test_a_message_is_a_header_and_whole_frames() -> None:
    message = bytes.fromhex(golden.MESSAGE)
    assert decode_message_header(message) == (5, 10)
    assert [kind for kind, *_ in decode_frames(message)] == [FrameType.PING]
