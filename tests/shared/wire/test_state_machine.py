"""Two mux cores and a hostile pipe: whatever the order of events, the promises hold.

Messages wait in the pipe for as long as the machine likes, one direction may run far ahead of the
other, readers stall, either side resets, and in the end the link may be cut. CI runs the fast
profile; `WIRE_PROFILE=deep` searches for minutes.
"""

import os
from collections import deque
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shared.errors import ResetCode
from shared.wire import mux as mux_module
from shared.wire.events import Event, Headed, Opened, Received, WasReset
from shared.wire.frames import FrameType, decode_frames
from shared.wire.limits import KIB, MAX_FRAME_BYTES, LinkLimits
from shared.wire.mux import Mux, Role
from shared.wire.stream import State
from tests.shared.wire.pair import HEAD, OPEN

LIMITS = LinkLimits(
    message_bytes=256 * KIB,
    flush_bytes=2 * KIB,
    stream_window=4 * KIB,
    stream_window_max=16 * KIB,
    link_window=24 * KIB,
    max_streams=12,
)
PARKED = 32 * KIB
SIZES = st.sampled_from([0, 1, 100, 2 * KIB, 5 * KIB, 20 * KIB, 200 * KIB])


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
    head_sent: bool = False
    heads: int = 0
    over: dict[Role, int] = field(default_factory=lambda: dict.fromkeys(Role, 0))
    """Resets each side knows of: its own or one reported."""


def content(stream: int, at: int, size: int) -> bytes:
    """Return bytes that differ by stream and place, so that mixed bodies show."""
    pattern = b"%d/%d " % (stream, at)
    return (pattern * (size // len(pattern) + 1))[:size]


class Machine(RuleBasedStateMachine):
    """The rules are what applications and the network may do; invariants run after each."""

    @initialize()
    def start(self) -> None:
        self.ends = {role: Mux(role, LIMITS) for role in Role}
        self.pipe: dict[Role, deque[bytes]] = {role: deque() for role in Role}
        self.exchanges: dict[int, Exchange] = {}
        self.now = 0.0
        self.cut = False
        self.parked_limit = mux_module.MAX_PARKED_BYTES
        mux_module.MAX_PARKED_BYTES = PARKED

    def teardown(self) -> None:
        if not hasattr(self, "ends"):
            return
        try:
            if not self.cut:
                self.finish()
        finally:
            mux_module.MAX_PARKED_BYTES = self.parked_limit

    # What applications do ---------------------------------------------------------------------

    @rule(size=SIZES)
    def open(self, size: int) -> None:
        relay = self.ends[Role.RELAY]
        if self.cut or relay.full:
            return
        exchange = Exchange()
        body = content(relay._streams.highest + 1, 0, size)
        stream = relay.open(OPEN, body)
        self.exchanges[stream] = exchange
        exchange.request.sent += body
        exchange.request.sent_end = True

    @precondition(lambda self: not self.cut and self.exchanges)
    @rule(pick=st.integers(0, 10**6), size=SIZES, end=st.booleans())
    def answer(self, pick: int, size: int, end: bool) -> None:
        answerable = [
            stream
            for stream, one in self.exchanges.items()
            if one.opened and not one.response.sent_end and not one.over[Role.CLIENT]
        ]
        if answerable:
            self.answer_one(answerable[pick % len(answerable)], size, end)

    def answer_one(self, stream: int, size: int, end: bool) -> None:
        client, one = self.ends[Role.CLIENT], self.exchanges[stream]
        if not one.head_sent:
            one.head_sent = True
            one.response.sent_end = end and not size
            client.send_head(stream, HEAD, end=one.response.sent_end)
            if one.response.sent_end:
                return
        data = content(stream, len(one.response.sent), size)
        one.response.sent += data
        one.response.sent_end = end
        client.send_data(stream, data, end)

    @precondition(lambda self: not self.cut and self.exchanges)
    @rule(role=st.sampled_from(Role), pick=st.integers(0, 10**6), part=st.integers(1, 4))
    def read(self, role: Role, pick: int, part: int) -> None:
        waiting = [stream for stream in self.exchanges if self.incoming(role, stream).unread]
        if waiting:
            stream = waiting[pick % len(waiting)]
            lane = self.incoming(role, stream)
            count = -(-lane.unread // part)
            lane.unread -= count
            self.ends[role].consumed(stream, count, self.now)

    @precondition(lambda self: not self.cut and self.exchanges)
    @rule(role=st.sampled_from(Role), pick=st.integers(0, 10**6))
    def reset(self, role: Role, pick: int) -> None:
        stream = list(self.exchanges)[pick % len(self.exchanges)]
        one = self.exchanges[stream]
        if role is Role.RELAY or one.opened:
            self.ends[role].reset(stream, ResetCode.CANCELLED, "enough")
            one.over[role] += 1
            self.incoming(role, stream).unread = 0

    # What the network does --------------------------------------------------------------------

    @precondition(lambda self: not self.cut)
    @rule(role=st.sampled_from(Role), most=st.integers(1, 5))
    def flush(self, role: Role, most: int) -> None:
        """One end's transport takes up to `most` messages."""
        mux = self.ends[role]
        served: list[set[int]] = []
        before = {queue.stream for queue in mux._outbox._ring if self.sendable(mux, queue)}
        for _ in range(most):
            message = mux.take_message([])
            if not message:
                break
            assert len(message) <= LIMITS.flush_bytes + MAX_FRAME_BYTES + 16
            self.pipe[role].append(message)
            served.append(
                {stream for kind, _, stream, _ in decode_frames(message) if kind is FrameType.DATA}
            )
        # Rotation: no stream is served a third time while another that could go waits.
        for stream in before:
            first = next((at for at, one in enumerate(served) if stream in one), len(served))
            for other in before - {stream}:
                turns = sum(other in one for one in served[:first])
                assert turns <= 2 or not self.sendable_id(mux, stream)

    @staticmethod
    def sendable(mux: Mux, queue: object) -> bool:
        return bool(
            queue.bytes and queue.window.available and mux._outbox.link.available  # type: ignore[attr-defined]
        )

    def sendable_id(self, mux: Mux, stream: int) -> bool:
        one = mux._streams.get(stream)
        return one is not None and self.sendable(mux, one.send)

    @precondition(lambda self: not self.cut)
    @rule(role=st.sampled_from(Role), most=st.integers(1, 5), later=st.floats(0.0, 0.2))
    def deliver(self, role: Role, most: int, later: float) -> None:
        """The network carries up to `most` messages away from `role`."""
        self.now += later
        for _ in range(min(most, len(self.pipe[role]))):
            self.receive(role, self.pipe[role].popleft())

    @rule()
    @precondition(lambda self: not self.cut and len(self.exchanges) > 3)
    def cut_the_link(self) -> None:
        """In this version a cut ends the link: what is in the pipe never arrives."""
        self.cut = True
        for waiting in self.pipe.values():
            waiting.clear()

    @precondition(lambda self: not self.cut)
    @rule(distance=st.sampled_from([0.0, 0.05, 0.3]))
    def measure(self, distance: float) -> None:
        for mux in self.ends.values():
            mux.round_trip = distance

    def receive(self, role: Role, message: bytes) -> None:
        target = Role.CLIENT if role is Role.RELAY else Role.RELAY
        for event in self.ends[target].receive_message(message, self.now):
            self.note(target, event)

    def note(self, role: Role, event: Event) -> None:
        assert isinstance(event, Opened | Headed | Received | WasReset)
        one = self.exchanges[event.stream]
        lane = self.incoming(role, event.stream)
        # Nothing is reported once this side knows that the stream was reset.
        assert not one.over[role]
        if isinstance(event, Opened):
            assert not one.opened
            one.opened, lane.got_end = True, event.end
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

    # What always holds ------------------------------------------------------------------------

    @invariant()
    def what_arrives_is_a_prefix_of_what_was_sent(self) -> None:
        for one in getattr(self, "exchanges", {}).values():
            for lane in (one.request, one.response):
                assert lane.sent.startswith(lane.got)
                if lane.got_end:
                    assert lane.got == lane.sent
                    assert lane.sent_end

    @invariant()
    def no_byte_of_the_links_credit_is_lost(self) -> None:
        if not hasattr(self, "ends") or self.cut:
            return
        for role, mux in self.ends.items():
            other = self.ends[Role.CLIENT if role is Role.RELAY else Role.RELAY]
            towards, back = self.in_flight(role), self.credit_in_flight(other, role)
            sender, receiver = mux._outbox.link, other._receive
            assert sender.available >= 0
            assert receiver.available >= 0
            assert sender.available + sum(towards.values()) + back[0] == receiver.available
            held = sum(one.unconsumed - one.parked for one in other._streams._streams.values())
            assert receiver.available + held + receiver._consumed == receiver.size

    @invariant()
    def no_byte_of_a_streams_credit_is_lost(self) -> None:
        if not hasattr(self, "ends") or self.cut:
            return
        for role, mux in self.ends.items():
            other = self.ends[Role.CLIENT if role is Role.RELAY else Role.RELAY]
            towards, back = self.in_flight(role), self.credit_in_flight(other, role)
            for stream, one in mux._streams._streams.items():
                peer = other._streams.get(stream)
                assert one.send.window.available >= 0
                if peer is None:
                    continue
                on_the_way = towards.get(stream, 0), back.get(stream, 0)
                assert one.send.window.available + sum(on_the_way) == peer.receive.available
                window = peer.receive
                open_ = peer.state is not State.CLOSED and not other._receive_over(peer)
                if open_:
                    assert window.available + peer.unconsumed + window._consumed == window.size

    @invariant()
    def memory_is_bounded_by_windows(self) -> None:
        for mux in getattr(self, "ends", {}).values():
            streams = mux._streams._streams.values()
            assert sum(one.parked for one in streams) == mux._parked <= PARKED
            assert sum(one.unconsumed for one in streams) <= LIMITS.link_window + PARKED
            for one in streams:
                assert 0 <= one.parked <= one.unconsumed <= one.receive.size
            assert len(streams) <= LIMITS.max_streams

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

    # How it ends ------------------------------------------------------------------------------

    def finish(self) -> None:
        """Let everybody finish: then no table, window or account remembers anything."""
        for _ in range(300):
            for stream, one in self.exchanges.items():
                answerable = one.opened and not one.over[Role.CLIENT]
                if answerable and not one.response.sent_end:
                    self.answer_one(stream, 10, True)
                for role in Role:
                    lane = self.incoming(role, stream)
                    if lane.unread:
                        self.ends[role].consumed(stream, lane.unread, self.now)
                        lane.unread = 0
            for role in Role:
                self.flush(role, 5)
                self.deliver(role, 5, 0.0)
            if not any(self.pipe.values()) and not any(
                mux.open_streams or mux._outbox._ready for mux in self.ends.values()
            ):
                break
        self.what_arrives_is_a_prefix_of_what_was_sent()
        self.no_byte_of_the_links_credit_is_lost()
        for mux in self.ends.values():
            assert mux.open_streams == mux._parked == 0
            assert not any(queue.bytes for queue in mux._outbox._ring)
            assert not mux._outbox.finished
        for one in self.exchanges.values():
            if not any(one.over.values()):
                assert one.request.got_end
                assert one.response.got_end


PROFILES = {"fast": (60, 40), "deep": (5000, 150)}
_EXAMPLES, _STEPS = PROFILES[os.environ.get("WIRE_PROFILE", "fast")]

TestStreams = Machine.TestCase
TestStreams.settings = settings(
    max_examples=_EXAMPLES,
    stateful_step_count=_STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
