"""The multiplexer of one link end, sans I/O: messages in, events out (docs/protocol.md).

No await, clock, randomness or logging: the driver passes bytes and `now` (seconds of a monotonic
clock) in, acts on the events that come back, and sends what `take_message` returns.
"""

from enum import Enum
from typing import ClassVar

from shared.errors import MisuseError, PeerError, ResetCode, TooBigError
from shared.wire import codec
from shared.wire.control import ControlFrames, Handlers
from shared.wire.events import (
    Event,
    Headed,
    Opened,
    Received,
    Requested,
    Responded,
    WasReset,
)
from shared.wire.frames import (
    FLAG_END,
    UNNUMBERED,
    FrameType,
    decode_frames,
    decode_message_header,
)
from shared.wire.limits import (
    MAX_HEAD_BYTES,
    MAX_INLINE_BYTES,
    MAX_STREAM_ID,
    MIB,
    LinkLimits,
)
from shared.wire.sequence import Sequence
from shared.wire.stream import Input, State
from shared.wire.streams import Stream, StreamTable
from shared.wire.windows import ReceiveWindow

MAX_PARKED_BYTES = 64 * MIB
"""What stalled readers of one link may hold together; beyond it they are cut."""
MAX_WAITING_BYTES = 64 * MIB
"""Frames outside credit that wait for a slow peer: at half of it the relay opens no more streams,
beyond it a peer that goes on making us answer loses the link."""
DRAIN_AT_STREAM = MAX_STREAM_ID - 2**24
"""The id at which a relay asks for another link, minutes before it runs out."""


class Role(Enum):
    """Which end of the link this is: only the relay opens streams."""

    RELAY = "relay"
    CLIENT = "client"


class Mux(ControlFrames):
    """One end of a link after the handshake."""

    def __init__(self, role: Role, limits: LinkLimits) -> None:
        super().__init__(limits)
        self._relay = role is Role.RELAY
        self._streams = StreamTable(limits)
        self._receive = ReceiveWindow(limits.link_window)
        self._parked = 0
        self.sequence = Sequence(keeps=limits.resume_seconds > 0)
        # Which inputs of the stream table a DATA frame means, by who sends it.
        request = (Input.REQUEST_DATA, Input.REQUEST_END)
        response = (Input.RESPONSE_DATA, Input.RESPONSE_END)
        self._out, self._in = (request, response) if self._relay else (response, request)
        self._handlers = self._RELAY_TAKES if self._relay else self._CLIENT_TAKES

    # What we send -----------------------------------------------------------------------------

    @property
    def open_streams(self) -> int:
        """How many streams are not over yet."""
        return len(self._streams)

    @property
    def flooded(self) -> bool:
        """More waits to be sent than a peer may make us hold."""
        return self._outbox.ready_bytes > MAX_WAITING_BYTES

    @property
    def full(self) -> bool:
        """No stream can be opened now: too many are, too much waits, or the ids ran out."""
        return (
            self._streams.full
            or self._streams.highest >= MAX_STREAM_ID
            or self._outbox.ready_bytes > MAX_WAITING_BYTES // 2
        )

    def _next_stream(self) -> Stream:
        if not self._relay or self.full:
            raise MisuseError("no stream can be opened here now")
        stream = self._streams.add(self._streams.highest + 1)
        if stream.id >= DRAIN_AT_STREAM and not self.draining:
            self.drain("stream ids run out")
        return stream

    def skip(self) -> None:
        """Use up the next id without a stream."""
        self._streams.highest += 1

    def request(self, head: bytes, body: bytes) -> int:
        """Open a stream with a whole request and return its id; raises MisuseError when full.

        A small body rides with the head in one frame.
        """
        if len(body) > MAX_INLINE_BYTES:
            return self.open(head, body)
        stream = self._next_stream()
        stream.step(Input.OPEN_END, local=True)
        self._outbox.put(FrameType.REQUEST, stream.id, codec.encode_whole(head, body))
        return stream.id

    def respond(self, stream_id: int, head: bytes, body: bytes) -> None:
        """Answer with a whole small response in one frame; ignored when the stream is over.

        The body has at most MAX_INLINE_BYTES.
        """
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        stream.step(Input.HEAD_END, local=True)
        self._outbox.put(FrameType.RESPONSE, stream_id, codec.encode_whole(head, body))
        self._settle(stream)

    def open(self, head: bytes, body: bytes, more: bool = False) -> int:
        """Open a stream with a request in frames of its own; `more`: its body follows later."""
        stream = self._next_stream()
        stream.step(Input.OPEN if body or more else Input.OPEN_END, local=True)
        self._outbox.put(FrameType.OPEN, stream.id, head, 0 if body or more else FLAG_END)
        if body:
            self.send_data(stream.id, body, end=True)
        return stream.id

    def send_head(self, stream_id: int, head: bytes, end: bool) -> None:
        """Answer a stream with a head; ignored when the stream is over."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        stream.step(Input.HEAD_END if end else Input.HEAD, local=True)
        self._outbox.put(FrameType.HEAD, stream_id, head, FLAG_END if end else 0)
        self._settle(stream)

    def send_data(self, stream_id: int, data: bytes, end: bool) -> bool:
        """Send body bytes; False asks to wait for Writable. True when the stream is over."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return True
        if not data and not end:
            # An upstream's empty chunk says nothing, and as a frame it would break the stream.
            return not stream.send.paused
        stream.step(self._out[end], local=True)
        more = self._outbox.put_data(stream.send, data, end)
        self._settle(stream)
        return more

    def reset(self, stream_id: int, code: ResetCode, detail: str = "", whose: str = "") -> None:
        """End a stream early; ignored when it is over. With `whose` a late answer is Late."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if whose:
            self._streams.note_cut(stream_id, whose)
        self._discard(stream)
        self._outbox.put(FrameType.RESET, stream_id, codec.encode_reset(code, detail))

    def consumed(self, stream_id: int, count: int, now: float) -> None:
        """Report that the reader took `count` received bytes; credit for them goes back."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        stream.unconsumed -= count
        from_parked = min(count, stream.parked)
        stream.parked -= from_parked
        self._parked -= from_parked
        self._link_consumed(count - from_parked)
        if from_parked and self._receive.low:
            # Room came back; without link credit no frame would come to make us look.
            self._set_aside()
        if stream.state is not State.CLOSED and not self._receive_over(stream):
            grant = stream.receive.consumed(count, now, self.round_trip)
            if grant:
                self._outbox.put(FrameType.CREDIT, stream_id, codec.encode_credit(grant))
        self._settle(stream)

    def take_message(self, writable: list[int]) -> bytes:
        """Return the next message, empty when there is none; call until it is.

        Streams that take data again are appended to `writable`.
        """
        frames, numbered = self._outbox.take(writable)
        if self._outbox.finished:
            self._settle_finished()
        return self.sequence.wrap(frames, numbered)

    def take_again(self, taken: int) -> list[bytes]:
        """Begin on another connection with what the peer did not take yet; raises PeerError."""
        self._pings.clear()
        return self.sequence.again(taken)

    # What we receive --------------------------------------------------------------------------

    def receive_message(self, message: bytes, now: float) -> list[Event]:
        """Take one message in; raises PeerError when it ends the link."""
        if len(message) > self.limits.message_bytes:
            raise TooBigError("message over its limit")
        if self.flooded:
            raise PeerError("too many answers wait to be sent")
        self._now = now
        sequence = self.sequence
        sequence.check(*decode_message_header(message))
        events: list[Event] = []
        handlers = self._handlers
        for kind, flags, stream_id, payload in decode_frames(message):
            handler = handlers.get(kind)
            if handler is None:
                raise PeerError(f"{kind.name} is not for this end to receive")
            if kind not in UNNUMBERED:
                sequence.taken += 1
            handler(self, stream_id, flags, payload, events)
        return events

    def _on_open(self, stream_id: int, flags: int, payload: bytes, events: list[Event]) -> None:
        if len(payload) > MAX_HEAD_BYTES:
            raise TooBigError("head over its limit")
        full = self._streams.full
        stream = self._streams.add(stream_id)
        stream.step(Input.OPEN_END if flags else Input.OPEN, local=False)
        if full:
            self.reset(stream_id, ResetCode.REFUSED, "too many streams")
            return
        events.append(Opened(stream_id, payload, bool(flags)))

    def _on_head(self, stream_id: int, flags: int, payload: bytes, events: list[Event]) -> None:
        stream = self._streams.answered(stream_id, events, b"")
        if stream is None:
            return
        if self._stepped(stream, Input.HEAD_END if flags else Input.HEAD, events):
            events.append(Headed(stream_id, payload, bool(flags)))
            self._settle(stream)

    def _on_request(self, stream_id: int, _flags: int, payload: bytes, events: list[Event]) -> None:
        head, body = codec.decode_whole(payload)
        full = self._streams.full
        self._streams.add(stream_id).step(Input.OPEN_END, local=False)
        if full:
            self.reset(stream_id, ResetCode.REFUSED, "too many streams")
            return
        events.append(Requested(stream_id, head, body))

    def _on_response(
        self, stream_id: int, _flags: int, payload: bytes, events: list[Event]
    ) -> None:
        head, body = codec.decode_whole(payload)
        stream = self._streams.answered(stream_id, events, body)
        if stream is not None and self._stepped(stream, Input.HEAD_END, events):
            events.append(Responded(stream_id, head, body))
            self._settle(stream)

    def _on_data(self, stream_id: int, flags: int, payload: bytes, events: list[Event]) -> None:
        size = len(payload)
        self._receive.received(size)
        stream = self._streams.answered(stream_id, events, payload)
        if stream is None:
            self._link_consumed(size)
            return
        if not size and not flags:
            self._break(stream, "empty frame", events)
            return
        if size > stream.receive.available:
            self._link_consumed(size)
            self._break(stream, "beyond its credit", events, ResetCode.FLOW_CONTROL)
            return
        stream.receive.received(size)
        if not self._stepped(stream, self._in[flags], events):
            self._link_consumed(size)
            return
        stream.unconsumed += size
        events.append(Received(stream_id, payload, bool(flags)))
        self._settle(stream)
        if self._receive.low:
            self._park(events)

    def _on_reset(self, stream_id: int, _flags: int, payload: bytes, events: list[Event]) -> None:
        code, detail = codec.decode_reset(payload)
        stream = self._streams.expected(stream_id)
        if stream is not None:
            self._discard(stream)
            self._report_reset(stream, code, detail, events)

    def _on_credit(self, stream_id: int, _flags: int, payload: bytes, events: list[Event]) -> None:
        credit = codec.decode_credit(payload)
        if stream_id == 0:
            self._outbox.link.add(credit)
            return
        stream = self._streams.expected(stream_id)
        if stream is not None:
            try:
                self._outbox.credit(stream.send, credit)
            except PeerError as error:
                self._break(stream, str(error), events, ResetCode.FLOW_CONTROL)

    _BOTH_TAKE: ClassVar[Handlers] = {
        **ControlFrames._BOTH_TAKE,
        FrameType.DATA: _on_data,
        FrameType.RESET: _on_reset,
        FrameType.CREDIT: _on_credit,
    }
    _RELAY_TAKES: ClassVar[Handlers] = {
        **_BOTH_TAKE,
        **ControlFrames._RELAY_TAKES,
        FrameType.HEAD: _on_head,
        FrameType.RESPONSE: _on_response,
    }
    _CLIENT_TAKES: ClassVar[Handlers] = {
        **_BOTH_TAKE,
        **ControlFrames._CLIENT_TAKES,
        FrameType.OPEN: _on_open,
        FrameType.REQUEST: _on_request,
    }

    # Streams that end ---------------------------------------------------------------------------

    def _stepped(self, stream: Stream, happened: Input, events: list[Event]) -> bool:
        try:
            stream.step(happened, local=False)
        except PeerError as error:
            self._break(stream, str(error), events)
            return False
        return True

    def _break(
        self,
        stream: Stream,
        detail: str,
        events: list[Event],
        code: ResetCode = ResetCode.PROTOCOL,
    ) -> None:
        """End a stream the peer broke, tell both sides, and count it against the peer."""
        self.reset(stream.id, code, detail)
        self._report_reset(stream, code, detail, events)
        self._streams.fault()

    def _report_reset(
        self, stream: Stream, code: ResetCode, detail: str, events: list[Event]
    ) -> None:
        # Where both directions ended there is nothing left to cut: one end is enough.
        if stream.state is not State.CLOSED:
            events.append(WasReset(stream.id, code, detail))

    def _discard(self, stream: Stream) -> None:
        if stream.pending:
            self._outbox.drop(stream.send)
        self._parked -= stream.parked
        self._link_consumed(stream.unconsumed - stream.parked)
        self._streams.remove(stream.id)
        if stream.parked and self._receive.low:
            self._set_aside()

    def _settle(self, stream: Stream) -> None:
        """Forget a stream once both directions ended, its bytes left and its reader is done."""
        if stream.state is State.CLOSED and not (stream.unconsumed or stream.pending):
            self._streams.remove(stream.id)

    def _settle_finished(self) -> None:
        for stream_id in self._outbox.finished:
            stream = self._streams.get(stream_id)
            if stream is not None:
                self._settle(stream)
        self._outbox.finished.clear()

    def _receive_over(self, stream: Stream) -> bool:
        state = stream.state
        if self._relay:
            return state is State.ANSWERED
        return state in (State.SENT, State.RECEIVING)

    def _link_consumed(self, count: int) -> None:
        grant = self._receive.consumed(count)
        if grant:
            self._outbox.put(FrameType.CREDIT, 0, codec.encode_credit(grant))

    def _set_aside(self) -> list[Stream]:
        """Give the link back what readers hold, as far as there is room; return who is over it."""
        parked, over = self._streams.park_stalled(MAX_PARKED_BYTES - self._parked)
        self._parked += parked
        self._link_consumed(parked)
        return over

    def _park(self, events: list[Event]) -> None:
        for stream in self._set_aside():
            self.reset(stream.id, ResetCode.STALLED, "its reader takes nothing")
            self._report_reset(stream, ResetCode.STALLED, "its reader takes nothing", events)
