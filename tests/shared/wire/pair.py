"""Two mux cores face to face, and what their tests say again and again."""

from collections.abc import Iterable

import pytest

from shared.errors import PeerError
from shared.wire.codec import Headers, OpenHead, encode_head, encode_open
from shared.wire.events import Event, Opened, Received
from shared.wire.frames import UNNUMBERED, FrameType, decode_frames, encode_frame, encode_message
from shared.wire.limits import KIB, LinkLimits
from shared.wire.mux import Mux, Role

SESSION = "0123456789abcdef" * 2
HEADERS: Headers = [(b"content-type", b"application/json")]
OPEN = encode_open(OpenHead("time", "POST", SESSION, "", HEADERS))
HEAD = encode_head(200, HEADERS)
PING = b"8 bytes."

SMALL = LinkLimits(
    message_bytes=KIB * 256,
    flush_bytes=KIB,
    stream_window=4 * KIB,
    stream_window_max=8 * KIB,
    link_window=16 * KIB,
    max_streams=8,
)
"""Limits small enough to be reached in a test."""


def take_all(mux: Mux, writable: list[int] | None = None) -> list[bytes]:
    """Return every message a mux has to send now."""
    told: list[int] = [] if writable is None else writable
    messages = []
    while message := mux.take_message(told):
        messages.append(message)
    return messages


def pump(source: Mux, target: Mux, now: float = 0.0) -> list[Event]:
    """Carry all messages of one direction; returns what the target reports."""
    events: list[Event] = []
    for message in take_all(source):
        events += target.receive_message(message, now)
    return events


def consume(mux: Mux, events: Iterable[Event], now: float = 0.0) -> bytes:
    """Consume all received bytes and return them."""
    received = [event for event in events if isinstance(event, Received)]
    for event in received:
        mux.consumed(event.stream, len(event.data), now)
    return b"".join(event.data for event in received)


class Pair:
    """A relay's and a client's end of one link."""

    def __init__(self, limits: LinkLimits = SMALL) -> None:
        self.relay = Mux(Role.RELAY, limits)
        self.client = Mux(Role.CLIENT, limits)

    def open(self, body: bytes = b"") -> int:
        """Open a stream, let the client take the whole request, and return its id."""
        stream = self.relay.open(OPEN, body)
        events = pump(self.relay, self.client)
        assert Opened(stream, OPEN, not body) in events
        consume(self.client, events)
        self.settle()
        return stream

    def settle(self) -> None:
        """Carry messages both ways until neither end has one; bytes are not consumed."""
        while (messages := take_all(self.relay)) or take_all_into(self.client, self.relay):
            for message in messages:
                self.client.receive_message(message, 0.0)

    @property
    def open_streams(self) -> tuple[int, int]:
        """How many streams each end still knows."""
        return self.relay.open_streams, self.client.open_streams


def take_all_into(source: Mux, target: Mux) -> bool:
    """Carry what `source` has to say; tells whether there was anything."""
    messages = take_all(source)
    for message in messages:
        target.receive_message(message, 0.0)
    return bool(messages)


class Peer:
    """A peer that follows no rule: frames by hand, with the right sequence number."""

    def __init__(self, role: Role, limits: LinkLimits = SMALL) -> None:
        self.mux = Mux(role, limits)
        self._sent = 0

    def send(self, *frames: bytes, now: float = 0.0) -> list[Event]:
        """Deliver frames as one message; returns what the mux reports."""
        message = encode_message(self._sent, 0, b"".join(frames))
        self._sent += sum(one[0] not in UNNUMBERED for one in frames)
        return self.mux.receive_message(message, now)

    def refused(self, *frames: bytes, now: float = 0.0) -> PeerError:
        """Deliver frames that must end the link; returns the error."""
        with pytest.raises(PeerError) as caught:
            self.send(*frames, now=now)
        return caught.value

    def answers(self) -> list[tuple[FrameType, int, bytes]]:
        """Return the frames the mux sends now."""
        return [
            (kind, stream, payload)
            for message in take_all(self.mux)
            for kind, _flags, stream, payload in decode_frames(message)
        ]


def frame(kind: FrameType, stream: int = 0, payload: bytes = b"", flags: int = 0) -> bytes:
    """Return one frame."""
    return encode_frame(kind, stream, payload, flags)
