"""Moves one end of a link: messages from the transport into the mux, frames out in batches.

Everything queued in one turn of the event loop leaves as one message. Nothing here waits: the hot
path is plain calls, and one timer per link is all that ticks.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, ClassVar

from shared.errors import CloseCode, PeerError, ResetCode
from shared.link.control import ControlWords
from shared.link.owner import NOBODY, LinkOwner, StreamHandler
from shared.link.transport import CUT, NO_TRANSPORT, MessageTransport
from shared.wire.events import (
    Catalogued,
    Draining,
    Event,
    Granted,
    Headed,
    Late,
    Opened,
    Ponged,
    Received,
    Requested,
    Responded,
    RevokeAsked,
    RevokeDone,
    ToolsTold,
    WasReset,
)
from shared.wire.keepalive import Keepalive, RoundTrips
from shared.wire.limits import LinkLimits
from shared.wire.mux import Mux, Role

STREAMS_TOGETHER = 128
"""Streams that share a link before the next one of a client gets its part."""
BEHIND, DRAINED = 1 << 20, 1 << 21


class LinkDriver(ControlWords):
    """One end of a link, from the end of the first handshake to its loss.

    `link` is the same at both ends: with a stream's number it names a call in their records. When
    its connection is cut the link waits for another: `LinkLimits.resume_seconds` where the peer
    fell silent, at most `closed_seconds` where the connection was closed, as a dead program's is.
    """

    def __init__(
        self,
        transport: MessageTransport,
        role: Role,
        limits: LinkLimits,
        owner: LinkOwner,
        link: str,
        closed_seconds: float | None = None,
    ) -> None:
        self.link = link
        self._closed = limits.resume_seconds if closed_seconds is None else closed_seconds
        self._relay = role is Role.RELAY
        self._owner = owner
        self._mux = Mux(role, limits)
        self._loop = asyncio.get_running_loop()
        self._streams: dict[int, StreamHandler] = {}
        self._newest = 0
        self._armed = False
        self._round_trips = RoundTrips()
        self._writable: list[int] = []
        self._at_turn_end: list[Callable[[], object]] = []
        self._lost = False
        self._detached = False
        self._attach(transport, limits)

    def _attach(self, transport: MessageTransport, limits: LinkLimits) -> None:
        self._transport = transport
        now = self._loop.time()
        # The first ping leaves at once: credit grows with the round trip it measures.
        asked = now - limits.ping_interval
        self.keepalive = Keepalive(limits.ping_interval, limits.ping_deadline, asked)
        self._timer = self._loop.call_at(self.keepalive.next_deadline, self._tick)
        transport.handler = self

    @property
    def lost(self) -> bool:
        """The link is gone, or on its way out."""
        return self._lost

    @property
    def detached(self) -> bool:
        """The connection was cut, and the link waits for another one."""
        return self._detached

    @property
    def taken(self) -> int:
        """How many of the peer's frames were taken: what a resuming peer is told."""
        return self._mux.sequence.taken

    @property
    def resumable(self) -> bool:
        """The link can go on over another connection."""
        return not self._lost and self._mux.sequence.resumable

    @property
    def round_trip(self) -> float:
        """Seconds of the last PING and its PONG; 0 before the first."""
        return self._mux.round_trip

    @property
    def open_streams(self) -> int:
        """How many streams are not over yet."""
        return self._mux.open_streams

    @property
    def full(self) -> bool:
        """No stream can be opened now."""
        return self._lost or self._detached or self._mux.full

    @property
    def load(self) -> int:
        """How much a new stream would have to share this link with; -1 when none can be opened.

        Streams count by STREAMS_TOGETHER: what leaves in one message costs least. A link whose
        peer takes nothing now counts for more than any other, a draining one for more still.
        """
        mux = self._mux
        if self._lost or self._detached or mux.full:
            return -1
        load = mux.open_streams // STREAMS_TOGETHER
        if not self._transport.writable:
            load += BEHIND
        return load + DRAINED if mux.draining else load

    @property
    def next_stream(self) -> int:
        """The number that the next stream will have, at the end that opens them."""
        return self._newest + 1

    def skip(self) -> None:
        """Use up the number of the next stream: something that is not sent is known by it."""
        self._mux.skip()
        self._newest += 1

    def open(self, head: bytes, body: bytes, handler: StreamHandler) -> int:
        """Open a stream with a whole request; raises MisuseError when the link is full."""
        return self._new(self._mux.open(head, body), handler)

    def request(self, head: bytes, body: bytes, handler: StreamHandler) -> int:
        """Open a stream as `open` does, in one frame when the body is small."""
        return self._new(self._mux.request(head, body), handler)

    def begin(self, head: bytes, handler: StreamHandler) -> int:
        """Open a stream as `open` does, and keep the body back until `go_on`."""
        return self._new(self._mux.open(head, b"", more=True), handler)

    def _new(self, stream: int, handler: StreamHandler) -> int:
        self._newest = stream
        self._streams[stream] = handler
        self.flush_soon()
        return stream

    def go_on(self, stream: int, body: bytes) -> None:
        """Send the body of a request that was begun; ignored when its stream is over."""
        self._mux.send_data(stream, body, end=True)
        self.flush_soon()

    def respond(self, stream: int, head: bytes, body: bytes) -> None:
        """Answer a stream with a whole body of at most MAX_INLINE_BYTES."""
        self._streams.pop(stream, None)
        self._mux.respond(stream, head, body)
        self.flush_soon()

    def head(self, stream: int, head: bytes, end: bool) -> None:
        """Answer a stream with a head."""
        if end:
            self._streams.pop(stream, None)
        self._mux.send_head(stream, head, end)
        self.flush_soon()

    def data(self, stream: int, data: bytes, end: bool) -> bool:
        """Send body bytes; False asks to wait for `on_writable`. Nothing follows the end."""
        if end:
            self._streams.pop(stream, None)
        more = self._mux.send_data(stream, data, end)
        self.flush_soon()
        return more

    def consumed(self, stream: int, count: int) -> None:
        """Report that `count` received bytes were used; credit goes back to the sender."""
        self._mux.consumed(stream, count, self._loop.time())
        self.flush_soon()

    def reset(self, stream: int, code: ResetCode, detail: str = "", whose: str = "") -> None:
        """End a stream early; its handler hears no more of it. See `cut` for `whose`."""
        self._streams.pop(stream, None)
        self._mux.reset(stream, code, detail, whose)
        self.flush_soon()

    def cut(self, stream: int, code: ResetCode, whose: str) -> None:
        """End a stream early; an answer that comes even so is reported as `whose`."""
        self.reset(stream, code, whose=whose)

    def close(self, code: int, reason: str) -> None:
        """Send what is queued, say why, and close."""
        self._flush()
        self._transport.close(code, reason)
        self._over(code, reason)

    def resume(self, transport: MessageTransport, taken: int) -> None:
        """Go on over another connection, whose peer took `taken` frames; raises PeerError.

        The connection before is dropped, whether its end was noticed or not.
        """
        again = self._mux.take_again(taken)
        self._timer.cancel()
        self._transport.handler = NO_TRANSPORT
        self._transport.abort()
        self._detached = False
        self._attach(transport, self._mux.limits)
        for message in again:
            transport.send(message)
        self.flush_soon()

    def message_received(self, message: bytes) -> None:
        """Take one message in; a peer that breaks the protocol loses the link."""
        if self.lost:
            return
        now = self._loop.time()
        self.keepalive.heard(now)
        dispatch = self._dispatch
        try:
            events = self._mux.receive_message(message, now)
        except PeerError as error:
            self.close(error.close_code, str(error))
            return
        for event in events:
            dispatch[type(event)](self, event)
            if self._lost:
                return
        self.flush_soon()

    def at_turn_end(self, act: Callable[[], object]) -> None:
        """Call `act` when this turn of the loop is over, before what it queued is sent."""
        self._at_turn_end.append(act)
        self.flush_soon()

    def transport_writable(self) -> None:
        """Go on sending what had to wait."""
        self._flush()

    def transport_lost(self, code: int, reason: str) -> None:
        """Wait for another connection, or end where nobody could come back."""
        if not self._lost:
            self._cut(code, reason, self._closed)

    def give_up(self, why: str) -> None:
        """Leave a connection that carries nothing; the link waits for another one."""
        self._transport.abort()
        self._cut(CUT, why, self._mux.limits.resume_seconds)

    def _cut(self, code: int, reason: str, patience: float) -> None:
        if code != CUT or not patience or not self.resumable:
            self._over(code, reason)
            return
        self._timer.cancel()
        self._detached = True
        self._transport.handler = NO_TRANSPORT
        self._transport = NO_TRANSPORT
        self._timer = self._loop.call_later(patience, self._over, code, reason)
        self._owner.on_cut(patience, reason)

    def _over(self, code: int, reason: str) -> None:
        """Tell every stream, then the owner, once."""
        if self._lost:
            return
        self._lost = True
        self._timer.cancel()
        streams, self._streams = self._streams, {}
        for handler in streams.values():
            handler.on_reset(ResetCode.UPSTREAM_BROKE, "the link was lost")
        self._owner.on_lost(code, reason)

    def ask(self) -> None:
        """Send a PING, whether it is time for one or not."""
        self._mux.ping(self.keepalive.ask(time.monotonic()))
        self.flush_soon()

    def flush_soon(self) -> None:
        """Send at the end of this turn of the loop what was queued in it."""
        if not self._armed:
            self._armed = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._at_turn_end:
            acts, self._at_turn_end = iter(self._at_turn_end), []
            try:
                for act in acts:
                    act()
            except BaseException:  # the rest of the turn is for others: it is done in the next one
                self._armed, self._at_turn_end = False, [*acts, *self._at_turn_end]
                self.flush_soon()
                raise
        self._armed = False
        if self._detached and self._mux.flooded:
            self._over(CloseCode.TOO_BIG, "too much waits for a link that was cut")
        transport, mux, writable = self._transport, self._mux, self._writable
        while transport.writable:
            message = mux.take_message(writable)
            if not message:
                break
            transport.send(message)
        if writable:
            self._writable = []
            for stream in writable:
                handler = self._streams.get(stream)
                if handler is not None:
                    handler.on_writable()

    def _tick(self) -> None:
        now = max(time.monotonic(), self._loop.time())
        if self.keepalive.expired(now):
            self.give_up(self.keepalive.why(now))
            return
        payload = self.keepalive.check(now)
        if payload is not None:
            self._mux.ping(payload)
            self._flush()
        self._timer = self._loop.call_at(self.keepalive.next_deadline, self._tick)

    def _received(self, event: Received) -> None:
        handler = self._streams.get(event.stream)
        if handler is None:
            self._mux.consumed(event.stream, len(event.data), self._loop.time())
            return
        if event.end and self._relay:
            del self._streams[event.stream]
        handler.on_data(event.data, event.end)

    def _headed(self, event: Headed) -> None:
        handler = self._streams.get(event.stream)
        if handler is not None:
            if event.end:
                del self._streams[event.stream]
            handler.on_head(event.head, event.end)

    def _responded(self, event: Responded) -> None:
        handler = self._streams.pop(event.stream, None)
        if handler is not None:
            handler.on_response(event.head, event.body)

    def _requested(self, event: Requested) -> None:
        self._streams[event.stream] = NOBODY
        handler = self._owner.on_request(event.stream, event.head, event.body)
        self._take_in(event.stream, handler)

    def _opened(self, event: Opened) -> None:
        self._streams[event.stream] = NOBODY
        handler = self._owner.on_open(event.stream, event.head, event.end)
        self._take_in(event.stream, handler)

    def _take_in(self, stream: int, handler: StreamHandler | None) -> None:
        # An answer given at once has taken the stream out again: it must not be put back.
        if stream in self._streams:
            if handler is not None:
                self._streams[stream] = handler
            else:
                self.reset(stream, ResetCode.REFUSED, "not served here")

    def _was_reset(self, event: WasReset) -> None:
        handler = self._streams.pop(event.stream, None)
        if handler is not None:
            handler.on_reset(event.code, event.detail)

    def _ponged(self, event: Ponged) -> None:
        # The loop's own time stands still for a turn, and uvloop's counts whole milliseconds.
        round_trip = self.keepalive.answered(event.payload, time.monotonic())
        if round_trip is not None:
            self._mux.round_trip = self._round_trips.least(round_trip)
            if self._round_trips.few:
                self.ask()

    # One table for all links; see `shared.wire.control.Handlers`.
    _dispatch: ClassVar[dict[type[Event], Callable[["LinkDriver", Any], None]]] = {
        Received: _received,
        Headed: _headed,
        Opened: _opened,
        Requested: _requested,
        Responded: _responded,
        WasReset: _was_reset,
        Late: lambda self, event: self._owner.on_late(event.whose, event.answer),
        Ponged: _ponged,
        Catalogued: lambda self, event: self._owner.on_catalog(event.upstreams),
        Draining: lambda self, event: self._owner.on_drain(event.detail),
        RevokeAsked: lambda self, event: self._owner.on_revoke(event.order, event.session),
        RevokeDone: lambda self, event: self._owner.on_revoked(event.order, event.ended),
        Granted: lambda self, event: self._owner.on_grant(event.grant),
        ToolsTold: lambda self, event: self._owner.on_tools(event.upstream, event.tools),
    }
