"""The streams of one link: their states, their credit, and what the reader still holds."""

from shared.errors import PeerError
from shared.wire.events import Event, Late
from shared.wire.limits import LinkLimits
from shared.wire.outbox import SendQueue
from shared.wire.stream import Input, State, step
from shared.wire.windows import ReceiveWindow

MAX_CUT = 1024
"""Streams that were cut and are remembered."""
MAX_STREAM_FAULTS = 16
"""Streams a peer may break in one link before the link itself is closed."""


class Stream:
    """One stream: state, both directions' credit, bytes received and not yet consumed.

    Windows are made when first needed: a small call needs neither.
    """

    __slots__ = ("_limits", "_receive", "_send", "id", "parked", "state", "unconsumed")

    def __init__(self, stream_id: int, limits: LinkLimits) -> None:
        self.id = stream_id
        self.state = State.IDLE
        self.unconsumed = 0
        self.parked = 0
        self._limits = limits
        self._send: SendQueue | None = None
        self._receive: ReceiveWindow | None = None

    @property
    def send(self) -> SendQueue:
        """What this end still has to send, and the credit for it."""
        if self._send is None:
            self._send = SendQueue(self.id, self._limits.stream_window)
        return self._send

    @property
    def receive(self) -> ReceiveWindow:
        """The credit this end gave."""
        if self._receive is None:
            limits = self._limits
            self._receive = ReceiveWindow(limits.stream_window, limits.stream_window_max)
        return self._receive

    @property
    def pending(self) -> bool:
        """Does a byte, or the end, wait to be sent?"""
        send = self._send
        return send is not None and (send.bytes > 0 or send.end)

    def step(self, happened: Input, *, local: bool) -> State:
        """Move to the next state; raises MisuseError for us, PeerError for the peer."""
        self.state = step(self.state, happened, local=local)
        return self.state


class StreamTable:
    """The living streams of a link. Ids rise and are never used twice."""

    def __init__(self, limits: LinkLimits) -> None:
        self._limits = limits
        self._streams: dict[int, Stream] = {}
        self.highest = 0
        self._cut: dict[int, str] = {}
        self._faults = 0

    def __len__(self) -> int:
        return len(self._streams)

    def get(self, stream_id: int) -> Stream | None:
        """Return a living stream; None for one that is over."""
        return self._streams.get(stream_id)

    def expected(self, stream_id: int) -> Stream | None:
        """Return the stream a frame is for; None when it is over and the frame is a late one.

        Raises PeerError for a stream that was never opened.
        """
        stream = self._streams.get(stream_id)
        if stream is None and stream_id > self.highest:
            raise PeerError(f"frame on stream {stream_id}, which was never opened")
        return stream

    def answered(self, stream_id: int, events: list[Event], answer: bytes) -> Stream | None:
        """Return the stream as `expected` does; tells of an answer to one that was cut, once."""
        stream = self.expected(stream_id)
        if stream is None and stream_id in self._cut:
            events.append(Late(self._cut.pop(stream_id), answer))
        return stream

    def note_cut(self, stream_id: int, whose: str) -> None:
        """Remember whose stream is cut; of the latest MAX_CUT only."""
        if len(self._cut) >= MAX_CUT:
            del self._cut[next(iter(self._cut))]
        self._cut[stream_id] = whose

    def add(self, stream_id: int) -> Stream:
        """Add a stream; raises PeerError when the id is not above all before it."""
        if stream_id <= self.highest:
            raise PeerError(f"stream {stream_id} opened after {self.highest}")
        self.highest = stream_id
        stream = self._streams[stream_id] = Stream(stream_id, self._limits)
        return stream

    def remove(self, stream_id: int) -> None:
        """Forget a stream that is over."""
        self._streams.pop(stream_id, None)

    @property
    def full(self) -> bool:
        """No further stream may be opened now."""
        return len(self._streams) >= self._limits.max_streams

    def fault(self) -> None:
        """Count a stream the peer broke; raises PeerError when there were too many."""
        self._faults += 1
        if self._faults > MAX_STREAM_FAULTS:
            raise PeerError("too many broken streams")

    def park_stalled(self, room: int) -> tuple[int, list[Stream]]:
        """Set aside what readers hold, so that it does not use up the link's credit.

        A window need not be full for that: many half-read answers stall a link as well as a few
        whole ones do. Returns the bytes newly set aside and the streams to cut: those that no
        longer fit into `room` bytes and whose reader let the whole window fill.
        """
        parked, over = 0, []
        for stream in self._streams.values():
            amount = stream.unconsumed - stream.parked
            if amount <= 0:
                continue
            if parked + amount <= room:
                stream.parked += amount
                parked += amount
            elif stream.receive.available == 0:
                over.append(stream)
        return parked, over
