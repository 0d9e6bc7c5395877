"""Two mux cores and a hostile pipe: whatever the order of events, the promises hold.

Messages wait in the pipe for as long as the machine likes, one direction may run far ahead of the
other, readers stall, either side resets, and in the end the link may be cut. CI runs the fast
profile; `WIRE_PROFILE=deep` searches for minutes.
"""

import os
from collections import deque
from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from shared.errors import ResetCode
from shared.wire.codec import OpenHead, encode_open
from shared.wire.frames import decode_frames
from shared.wire.limits import KIB, MAX_INLINE_BYTES
from shared.wire.mux import Mux, Role
from shared.wire.stream import State
from tests.shared.wire.golden import TOOL
from tests.shared.wire.model import LIMITS, PARKED, Exchange, Model, content
from tests.shared.wire.pair import HEAD, SESSION

OPEN = encode_open(OpenHead("time", "POST", SESSION, "", [(b"x-large", b"x" * 3 * KIB)]))
LARGEST_MESSAGE = 16 + LIMITS.flush_bytes + 8 + 2 + len(OPEN) + MAX_INLINE_BYTES
SIZES = st.sampled_from([0, 1, 10, 200, 2 * KIB, 5 * KIB, 20 * KIB, 200 * KIB])


class Machine(Model):
    """The rules are what applications and the network may do; invariants run after each."""

    def teardown(self) -> None:
        if not hasattr(self, "ends"):
            return
        try:
            if not self.cut:
                self.finish()
        finally:
            self.patch.undo()

    # What applications do ---------------------------------------------------------------------

    @rule(size=SIZES, inline=st.booleans())
    def open(self, size: int, inline: bool) -> None:
        relay = self.ends[Role.RELAY]
        if self.cut or relay.full:
            return
        exchange = Exchange(grants=self.grants_sent)
        body = content(relay._streams.highest + 1, 0, size)
        stream = relay.request(OPEN, body) if inline else relay.open(OPEN, body)
        self.exchanges[stream] = exchange
        exchange.request.sent += body
        exchange.request.sent_end = True

    @precondition(lambda self: not self.cut)
    @rule()
    def grant(self) -> None:
        self.grants_sent += 1
        self.ends[Role.RELAY].grant(b"%d" % self.grants_sent)

    @precondition(lambda self: not self.cut)
    @rule(many=st.integers(0, 60))
    def tell_tools(self, many: int) -> None:
        """Up to several frames, among those of streams."""
        self.tools_sent += 1
        tools = [replace(TOOL, name=f"{self.tools_sent}-{at}") for at in range(many)]
        self.ends[Role.CLIENT].tools("time", tools)

    @precondition(lambda self: not self.cut)
    @rule(streams=st.integers(2, 8), size=SIZES)
    def burst(self, streams: int, size: int) -> None:
        """Many calls at once whose answers nobody reads yet."""
        for _ in range(streams):
            self.open(10, inline=True)
        self.flush(Role.RELAY, 30)
        self.deliver(Role.RELAY, 30, 0.0)
        for stream, one in self.exchanges.items():
            if one.opened and not one.head_sent and not one.over[Role.CLIENT]:
                self.answer_one(stream, size, False)
        self.flush(Role.CLIENT, 30)
        self.deliver(Role.CLIENT, 30, 0.0)

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
        if not one.head_sent and end and size <= MAX_INLINE_BYTES and size % 200:
            one.head_sent = one.response.sent_end = True
            one.response.sent += content(stream, 0, size)
            client.respond(stream, HEAD, bytes(one.response.sent))
            return
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
    @rule(role=st.sampled_from(Role), most=st.integers(1, 30))
    def flush(self, role: Role, most: int) -> None:
        """One end's transport takes up to `most` messages."""
        mux = self.ends[role]
        waiting = {queue.stream for queue in mux._outbox._ring if self.sendable(mux, queue)}
        ready = len(mux._outbox._ready)
        frames: list[int] = []
        for _ in range(most):
            message = mux.take_message([])
            if not message:
                break
            assert len(message) <= LARGEST_MESSAGE
            self.pipe[role].append(message)
            frames += [stream for _, _, stream, _ in decode_frames(message)]
        # Rotation: nobody gets a second turn while another who could go waits for the first.
        turns = frames[ready:]
        for stream in waiting:
            if stream in turns or self.sendable_id(mux, stream):
                before = turns[: turns.index(stream)] if stream in turns else turns
                assert len(set(before)) == len(before)

    @staticmethod
    def sendable(mux: Mux, queue: object) -> bool:
        return bool(
            queue.bytes and queue.window.available and mux._outbox.link.available  # type: ignore[attr-defined]
        )

    def sendable_id(self, mux: Mux, stream: int) -> bool:
        one = mux._streams.get(stream)
        return one is not None and self.sendable(mux, one.send)

    @precondition(lambda self: not self.cut)
    @rule(role=st.sampled_from(Role), most=st.integers(1, 30), later=st.floats(0.0, 0.2))
    def deliver(self, role: Role, most: int, later: float) -> None:
        """The network carries up to `most` messages away from `role`."""
        self.now += later
        for _ in range(min(most, len(self.pipe[role]))):
            self.receive(role, self.pipe[role].popleft())

    @precondition(lambda self: not self.cut)
    @rule()
    def resume_on_another_connection(self) -> None:
        """What is in the pipe never arrives, and is sent again."""
        taken = {role: mux.sequence.taken for role, mux in self.ends.items()}
        for role, mux in self.ends.items():
            other = Role.CLIENT if role is Role.RELAY else Role.RELAY
            self.pipe[role] = deque(mux.take_again(taken[other]))

    @rule()
    @precondition(lambda self: not self.cut and len(self.exchanges) > 3)
    def cut_the_link(self) -> None:
        """A link that is not resumed: what is in the pipe never arrives."""
        self.cut = True
        for waiting in self.pipe.values():
            waiting.clear()

    @precondition(lambda self: not self.cut)
    @rule(distance=st.sampled_from([0.0, 0.05, 0.3]))
    def measure(self, distance: float) -> None:
        for mux in self.ends.values():
            mux.round_trip = distance

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
    def readers_that_stall_never_use_up_the_links_credit(self) -> None:
        for mux in getattr(self, "ends", {}).values():
            held = sum(one.unconsumed - one.parked for one in mux._streams._streams.values())
            low = mux._receive.available < mux._receive.size // 4
            assert not low or not held or mux._parked + held > PARKED

    @invariant()
    def memory_is_bounded_by_windows(self) -> None:
        for mux in getattr(self, "ends", {}).values():
            streams = mux._streams._streams.values()
            assert sum(one.parked for one in streams) == mux._parked <= PARKED
            assert sum(one.unconsumed for one in streams) <= LIMITS.link_window + PARKED
            for one in streams:
                assert 0 <= one.parked <= one.unconsumed <= one.receive.size
            assert len(streams) <= LIMITS.max_streams

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
