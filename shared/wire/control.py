"""Frames that concern the link itself, not a stream: a base of the mux."""

from collections.abc import Callable
from typing import Any, ClassVar

from shared.errors import PeerError, TooBigError
from shared.wire import codec
from shared.wire.events import (
    Catalogued,
    Draining,
    Event,
    Granted,
    Ponged,
    RevokeAsked,
    RevokeDone,
    ToolsTold,
)
from shared.wire.frames import FrameType
from shared.wire.limits import MAX_GRANT_BYTES, MAX_PINGS_PER_INTERVAL, LinkLimits
from shared.wire.outbox import Outbox
from shared.wire.tools import ToolsHeard, ToolWord, encode_tools

PING_BYTES = 8
EARLY = 0.9
"""The part of an interval within which a PING after another came before its time."""

Handlers = dict[FrameType, Callable[[Any, int, int, bytes, list[Event]], None]]
"""What to call for a frame of each kind: with the mux, stream, flags, payload, and events to add.

The functions of the class, one table for all links: methods of a mux would be a table and a
reference cycle each.
"""


class ControlFrames:
    """What both ends of a link say about it. `_now` is when the current message came."""

    def __init__(self, limits: LinkLimits) -> None:
        self.limits = limits
        self.round_trip = 0.0
        self._outbox = Outbox(limits.link_window, limits.flush_bytes)
        self._pings: list[float] = []
        self.hurried_at = 0.0
        """When the peer sent a PING before its time: it may not hear us, here or elsewhere."""
        self._tools = ToolsHeard()
        self._now = 0.0
        self.draining = False
        """The client was asked to move to another link (relay only)."""

    def ping(self, payload: bytes) -> None:
        """Send a PING of 8 bytes that the peer must answer."""
        self._outbox.put_unnumbered(FrameType.PING, payload)

    def drain(self, detail: str) -> None:
        """Ask the client to move to another link (relay only)."""
        self.draining = True
        self._outbox.put(FrameType.DRAIN, 0, codec.encode_detail(detail))

    def catalog(self, upstreams: list[str]) -> None:
        """Tell the relay which upstreams we serve (client only)."""
        self._outbox.put(FrameType.CATALOG, 0, codec.encode_catalog(upstreams))

    def revoke(self, order: int, session: str) -> None:
        """Order the client to cut a session (relay only)."""
        self._outbox.put(FrameType.REVOKE, 0, codec.encode_revoke(order, session))

    def revoked(self, order: int, ended: int) -> None:
        """Report that an order was carried out (client only)."""
        self._outbox.put(FrameType.REVOKED, 0, codec.encode_revoked(order, ended))

    def grant(self, grant: bytes) -> None:
        """Say what a session is, before the first stream that names it (relay only)."""
        self._outbox.put(FrameType.GRANT, 0, grant)

    def tools(self, upstream: str, tools: list[ToolWord]) -> None:
        """Tell the relay what there is to know of an upstream's tools (client only)."""
        for payload in encode_tools(upstream, tools):
            self._outbox.put(FrameType.TOOLS, 0, payload)

    def _on_ping(self, _stream: int, _flags: int, payload: bytes, _events: list[Event]) -> None:
        if len(payload) != 8:
            raise PeerError("PING has the wrong size")
        since = self._now - self.limits.ping_interval
        self._pings = [at for at in self._pings if at > since]
        if len(self._pings) >= MAX_PINGS_PER_INTERVAL:
            raise PeerError("too many PINGs")
        if self._pings and self._now - self._pings[-1] < EARLY * self.limits.ping_interval:
            self.hurried_at = self._now
        self._pings.append(self._now)
        self._outbox.put_unnumbered(FrameType.PONG, payload)

    def _on_pong(self, _stream: int, _flags: int, payload: bytes, events: list[Event]) -> None:
        if len(payload) != 8:
            raise PeerError("PONG has the wrong size")
        events.append(Ponged(payload))

    def _on_drain(self, _stream: int, _flags: int, payload: bytes, events: list[Event]) -> None:
        events.append(Draining(codec.decode_detail(payload)))

    def _on_catalog(self, _stream: int, _flags: int, payload: bytes, events: list[Event]) -> None:
        events.append(Catalogued(codec.decode_catalog(payload)))

    def _on_revoke(self, _stream: int, _flags: int, payload: bytes, events: list[Event]) -> None:
        events.append(RevokeAsked(*codec.decode_revoke(payload)))

    def _on_revoked(self, _stream: int, _flags: int, payload: bytes, events: list[Event]) -> None:
        events.append(RevokeDone(*codec.decode_revoked(payload)))

    def _on_grant(self, _stream: int, _flags: int, payload: bytes, events: list[Event]) -> None:
        if len(payload) > MAX_GRANT_BYTES:
            raise TooBigError("grant over its limit")
        events.append(Granted(payload))

    def _on_tools(self, _stream: int, _flags: int, payload: bytes, events: list[Event]) -> None:
        told = self._tools.take(payload)
        if told is not None:
            events.append(ToolsTold(*told))

    _BOTH_TAKE: ClassVar[Handlers] = {FrameType.PING: _on_ping, FrameType.PONG: _on_pong}
    _RELAY_TAKES: ClassVar[Handlers] = {
        FrameType.CATALOG: _on_catalog,
        FrameType.REVOKED: _on_revoked,
        FrameType.TOOLS: _on_tools,
    }
    _CLIENT_TAKES: ClassVar[Handlers] = {
        FrameType.DRAIN: _on_drain,
        FrameType.REVOKE: _on_revoke,
        FrameType.GRANT: _on_grant,
    }
