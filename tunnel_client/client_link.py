"""One link to a relay while it lives."""

import asyncio
import time
from typing import Any

import anyio
import structlog

from shared.audit import events
from shared.errors import CloseCode, PeerError
from shared.link.driver import LinkDriver
from shared.link.owner import StreamHandler
from shared.link.transport import CUT, MessageTransport
from shared.wire.limits import LinkLimits
from shared.wire.mux import Role
from shared.wire.tools import ToolWord
from tunnel_client.bridge import Bridge
from tunnel_client.grants import Grants, RefusedGrantError
from tunnel_client.process import Process

log = structlog.get_logger("tunnel_client.link")

LOOK_SECONDS = 1.0
"""How often a link looks whether a grant is over: no stream has a timer of its own."""


class ClientLink:
    """One link while it lives: what the driver reports about it. `relay` is where it leads."""

    def __init__(self, process: Process, slot: int, relay: str, epoch: int) -> None:
        self._process = process
        instance = process.identity.instance
        self.grants = Grants(process.relay_key, process.tunnel, instance, epoch, process.clock)
        self.bridge = Bridge(
            process.upstreams,
            self.grants,
            process.judge,
            process.permits,
            process.calls,
            process.tally,
        )
        self.driver: LinkDriver
        self.slot = slot
        self.relay = relay
        self.epoch = epoch
        self.since = time.time()
        self.resumed = 0
        self.draining = self._left = False
        self._news, self._ended = anyio.Event(), anyio.Event()
        self._close: tuple[int, str] | None = None
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

    def attach(self, socket: MessageTransport, limits: LinkLimits, name: str) -> None:
        """Start to drive the link over a transport whose handshake is over."""
        self.driver = LinkDriver(socket, Role.CLIENT, limits, self, name)
        self._silent_after = limits.silence
        self._process.links.append(self)
        self._process.lease.link_up(self)

    def on_grant(self, grant: bytes) -> None:
        """The relay says what a session is: believed if it signed that for this very link."""
        try:
            self.grants.take(grant)
        except RefusedGrantError as error:
            events.note("grant.refused", link=self.driver.link, reason=str(error))
            self.grants.seldom.log("grant_refused", reason=str(error))
        except PeerError as error:
            log.error("the relay sent a bad grant", reason=str(error))
            self.driver.close(error.close_code, "bad grant")

    def _look(self) -> None:
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)
        self.grants.admit_before(self.driver.keepalive.answered_at)
        for session in self.grants.over():
            if self._process.granted(session):
                continue  # the relay said more on another link
            ended = self._process.end_session(session)
            events.note("grant.over", link=self.driver.link, session=session, ended=ended)
            log.info("grant over", session=session[:8], ended=ended)
        if self._left and not self.driver.open_streams:
            self.driver.close(CloseCode.NORMAL, "moved to another link")

    def on_open(self, stream: int, head: bytes, end: bool) -> StreamHandler | None:
        """The relay opened a stream."""
        return self.bridge.open(self.driver, stream, head, b"" if end else None)

    def on_request(self, stream: int, head: bytes, body: bytes) -> StreamHandler | None:
        """The relay opened a stream with a whole small request."""
        return self.bridge.open(self.driver, stream, head, body)

    def on_catalog(self, upstreams: list[str]) -> None:
        """Never called: the relay has no upstreams."""

    def on_drain(self, detail: str) -> None:
        """The relay will close soon: another link is made while this one carries what runs."""
        log.info("the relay asks to move", relay=self.relay, slot=self.slot, detail=detail)
        self.draining = True
        self._news.set()

    def on_revoke(self, order: int, session: str) -> None:
        """The relay cuts a session: end all that is its, then say so.

        What another link was told first was done then; what began elsewhere since may live.
        """
        if self.grants.admit(session):
            ended = self.bridge.cut_session(session)
        else:
            ended = self._process.end_session(session, by=self)
        self.driver.revoked(order, ended)
        events.note("session.cut", link=self.driver.link, session=session, ended=ended)
        log.info("session cut", session=session[:8], ended=ended)

    def on_revoked(self, order: int, ended: int) -> None:
        """Never called: only the relay gives orders."""

    def on_tools(self, upstream: str, tools: list[ToolWord]) -> None:
        """Never called: the relay has no tools."""

    def on_late(self, whose: str, answer: bytes) -> None:
        """Never called: only the relay cuts."""

    def on_cut(self, seconds: float, reason: str) -> None:
        """The connection is gone, and we have this long to resume the link on another."""
        events.note("link.cut", link=self.driver.link, reason=reason, waits=seconds)
        self._gone(CUT, reason)
        if self._left:
            self.driver.close(CUT, "cut after another link took over")

    def on_lost(self, code: int, reason: str) -> None:
        """The link is gone."""
        self._timer.cancel()
        events.note("link.down", link=self.driver.link, code=int(code), reason=reason)
        if self.draining:
            log.info("link drained", relay=self.relay, slot=self.slot, code=code, reason=reason)
        self._gone(code, reason)
        self._process.links.remove(self)
        self._process.maybe_place()

    def _gone(self, code: int, reason: str) -> None:
        self._close = (code, reason)
        self._process.lease.link_lost(self, self.driver.keepalive.last_heard, self._lapse)
        self._news.set()
        self._ended.set()

    def _lapse(self) -> None:
        """The lease is over: end what waits for a relay that may have ended it long ago."""
        if self.driver.detached:
            self.driver.close(CUT, "the lease is over")

    def resume(self, socket: MessageTransport, taken: int) -> None:
        """Go on over another connection, whose relay took `taken` frames; raises PeerError."""
        self._news, self._ended, self._close = anyio.Event(), anyio.Event(), None
        self.driver.resume(socket, taken)
        self.resumed += 1
        self._process.lease.link_up(self)
        events.note("link.resumed", link=self.driver.link, times=self.resumed)

    def leave(self) -> None:
        """Another link took over: this one ends when nothing runs on it any more."""
        self._left = True
        if self.driver.detached:
            self.driver.close(CUT, "cut while another link took over")

    async def gone(self) -> None:
        """Wait until the connection is gone, whatever the relay asks for."""
        await self._ended.wait()

    async def over(self) -> tuple[int, str] | None:
        """Wait until the connection is gone; returns the close code and reason.

        None when the relay asks to move.
        """
        if not self.draining:
            await self._news.wait()
        return self._close

    def facts(self) -> dict[str, Any]:
        """Return what `tunnel-client status` shows about the link."""
        driver = self.driver
        return {
            "slot": self.slot,
            "relay": self.relay,
            "connected": not driver.detached,
            "draining": self.draining,
            "epoch": self.epoch,
            "since": self.since,
            "streams": driver.open_streams,
            "resumed": self.resumed,
            "grants": len(self.grants),
            "round_trip_ms": round(driver.round_trip * 1000, 2),
            "heard_ago": round(max(0.0, time.monotonic() - driver.keepalive.last_heard), 1),
            "silent_after": self._silent_after,
        }
