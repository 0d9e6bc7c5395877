"""What a machine knows of two mux cores and the pipe between them, and what it sees arrive."""

from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize

from shared.wire.events import (
    Event,
    Granted,
    Headed,
    Opened,
    Received,
    Requested,
    Responded,
    ToolsTold,
    WasReset,
)
from shared.wire.frames import FrameType, decode_frames
from shared.wire.limits import KIB, LinkLimits
from shared.wire.mux import Mux, Role

LIMITS = LinkLimits(
    message_bytes=256 * KIB,
    flush_bytes=2 * KIB,
    stream_window=4 * KIB,
    stream_window_max=16 * KIB,
    link_window=12 * KIB,
    max_streams=12,
)
PARKED = 16 * KIB
FRAME = 512
"""Body bytes of a frame: small, so that many turns fit into a window."""


@dataclass
class Lane:
    """One direction of one stream: what was given to send, what arrived, how it ended."""

    sent: bytearray = field(default_factory=bytearray)
    got: bytearray = field(default_factory=bytearray)
    unread: int = 0
    sent_end: bool = False
    got_end: bool = False


@dataclass
class Exchange:
    """What the machine knows of one stream."""

    request: Lane = field(default_factory=Lane)
    response: Lane = field(default_factory=Lane)
    opened: bool = False
    grants: int = 0
    """Grants that were sent before it: all of them come first."""
    head_sent: bool = False
    heads: int = 0
    over: dict[Role, int] = field(default_factory=lambda: dict.fromkeys(Role, 0))
    """Resets each side knows of: its own or one reported."""


def content(stream: int, at: int, size: int) -> bytes:
    """Return bytes that differ by stream and place, so that mixed bodies show."""
    pattern = b"%d/%d " % (stream, at)
    return (pattern * (size // len(pattern) + 1))[:size]


class Model(RuleBasedStateMachine):
    """Two ends, and what each was given to send, has got and was told."""

    @initialize()
    def start(self) -> None:
        self.ends = {role: Mux(role, LIMITS) for role in Role}
        self.pipe: dict[Role, deque[bytes]] = {role: deque() for role in Role}
        self.exchanges: dict[int, Exchange] = {}
        self.now = 0.0
        self.grants_sent = self.grants_got = 0
        self.tools_sent = self.tools_got = 0
        self.cut = False
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("shared.wire.mux.MAX_PARKED_BYTES", PARKED)
        self.patch.setattr("shared.wire.tools.MAX_PAYLOAD_BYTES", 2 * KIB)
        self.patch.setattr("shared.wire.outbox.MAX_PAYLOAD_BYTES", FRAME)

    def receive(self, role: Role, message: bytes) -> None:
        target = Role.CLIENT if role is Role.RELAY else Role.RELAY
        for event in self.ends[target].receive_message(message, self.now):
            self.note(target, event)

    def note(self, role: Role, event: Event) -> None:
        if isinstance(event, Granted):
            self.grants_got += 1
            assert event.grant == b"%d" % self.grants_got
            return
        if isinstance(event, ToolsTold):
            self.tools_got += 1
            assert {tool.name.partition("-")[0] for tool in event.tools} <= {str(self.tools_got)}
            return
        assert isinstance(event, Opened | Requested | Headed | Responded | Received | WasReset)
        one = self.exchanges[event.stream]
        lane = self.incoming(role, event.stream)
        # Nothing is reported once this side knows that the stream was reset.
        assert not one.over[role]
        if isinstance(event, Opened | Requested):
            assert self.grants_got >= one.grants
        if isinstance(event, Opened):
            assert not one.opened
            one.opened, lane.got_end = True, event.end
        elif isinstance(event, Requested | Responded):
            # Whole in one frame: nothing to consume, nothing follows.
            assert not lane.got
            lane.got += event.body
            lane.got_end = True
            assert not (one.opened if role is Role.CLIENT else one.heads)
            one.opened = True
            one.heads += role is Role.RELAY
        elif isinstance(event, Headed):
            one.heads += 1
            assert one.heads == 1
            lane.got_end = event.end
        elif isinstance(event, Received):
            assert not lane.got_end
            lane.got += event.data
            lane.unread += len(event.data)
            lane.got_end = event.end
        else:
            # One terminal event: an answer that ended is never reset afterwards.
            assert not (role is Role.RELAY and lane.got_end)
            one.over[role] += 1
            lane.unread = 0

    def incoming(self, role: Role, stream: int) -> Lane:
        one = self.exchanges[stream]
        return one.response if role is Role.RELAY else one.request

    def in_flight(self, role: Role) -> dict[int, int]:
        """Return body bytes by stream that left the rotation of `role` and did not arrive."""
        return self.count(self.ends[role], role, FrameType.DATA)

    def credit_in_flight(self, giver: Mux, taker: Role) -> dict[int, int]:
        """Return credit by stream on its way to `taker`."""
        role = Role.CLIENT if taker is Role.RELAY else Role.RELAY
        return {0: 0} | self.count(giver, role, FrameType.CREDIT)

    def count(self, mux: Mux, role: Role, wanted: FrameType) -> dict[int, int]:
        waiting = bytes(16) + b"".join(mux._outbox._ready)
        amounts: dict[int, int] = {}
        for message in (*self.pipe[role], waiting):
            for kind, _, stream, payload in decode_frames(message):
                if kind is wanted:
                    size = len(payload) if kind is FrameType.DATA else int.from_bytes(payload)
                    amounts[stream] = amounts.get(stream, 0) + size
        return amounts
