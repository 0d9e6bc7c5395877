"""One link of the client while it lives: what the driver reports about it."""

import asyncio
import time
from collections.abc import Mapping

import anyio
import structlog

from shared.audit import events
from shared.errors import PeerError
from shared.link.driver import LinkDriver
from shared.link.owner import StreamHandler
from shared.link.transport import CUT, MessageTransport
from shared.wire.tools import ToolWord
from tunnel_client.audit.calls import Calls
from tunnel_client.bridge import Bridge
from tunnel_client.grants import Grants, RefusedGrantError
from tunnel_client.judge import Judge
from tunnel_client.permit_desk import PermitDesk
from tunnel_client.tally import Tally
from tunnel_client.upstream.base import Upstream

log = structlog.get_logger("tunnel_client.link")

LOOK_SECONDS = 1.0
"""How often a link looks whether a grant is over: no stream has a timer of its own."""

QUIET_SECONDS = 3.0
"""A peer that calls run at and that says nothing for so long is asked whether it is there."""
MOST_EARLY = 4
"""PINGs before their time in one interval: a peer that gets more than ten gives the link up."""
STUCK_SECONDS = 2.0
"""So long an answer may take before another connection is tried."""


def is_stuck(driver: LinkDriver) -> bool:
    """Tell whether a link with calls on it owes us an answer for long; asks when it is quiet."""
    if driver.lost or driver.detached or not driver.open_streams:
        return False
    now = time.monotonic()
    owed = driver.keepalive.owed_for(now)
    quiet = max(QUIET_SECONDS, driver.keepalive.interval / MOST_EARLY)
    if not owed and now - driver.keepalive.last_heard >= quiet:
        driver.ask()
    return owed >= STUCK_SECONDS


class ClientLink:
    """One link while it lives: what the driver reports about it."""

    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        grants: Grants,
        judge: Judge,
        permits: PermitDesk,
        calls: Calls,
        tally: Tally,
        epoch: int,
    ) -> None:
        self.bridge = Bridge(upstreams, grants, judge, permits, calls, tally)
        self.driver: LinkDriver
        self.epoch = epoch
        self.since = time.time()
        self._grants = grants
        self.resumed = 0
        self._gone = anyio.Event()
        self._close = (0, "")
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(LOOK_SECONDS, self._end_by_time)

    @property
    def grants(self) -> int:
        """How many sessions are granted on this link."""
        return len(self._grants)

    def on_grant(self, grant: bytes) -> None:
        """The relay says what a session is: believed if it signed that for this very link."""
        try:
            self._grants.take(grant)
        except RefusedGrantError as error:
            events.note("grant.refused", link=self.driver.link, reason=str(error))
            self._grants.seldom.log("grant_refused", reason=str(error))
        except PeerError as error:
            log.error("the relay sent a bad grant", reason=str(error))
            self.driver.close(error.close_code, "bad grant")

    def _end_by_time(self) -> None:
        self._timer = self._loop.call_later(LOOK_SECONDS, self._end_by_time)
        for session in self._grants.over():
            ended = self.bridge.end_session(session)
            events.note("grant.over", link=self.driver.link, session=session[:8], ended=ended)
            log.info("grant over", session=session[:8], ended=ended)

    def on_open(self, stream: int, head: bytes, end: bool) -> StreamHandler | None:
        """The relay opened a stream."""
        return self.bridge.open(self.driver, stream, head, b"" if end else None)

    def on_request(self, stream: int, head: bytes, body: bytes) -> StreamHandler | None:
        """The relay opened a stream with a whole small request."""
        return self.bridge.open(self.driver, stream, head, body)

    def on_catalog(self, upstreams: list[str]) -> None:
        """Never called: the relay has no upstreams."""

    def on_drain(self, detail: str) -> None:
        """The relay will close soon; it waits for calls that run, then we dial again."""
        log.info("the relay asks to move", detail=detail)

    def on_revoke(self, order: int, session: str) -> None:
        """The relay cuts a session: end all that is its, then say so."""
        self._grants.end(session)
        ended = self.bridge.end_session(session)
        self.driver.revoked(order, ended)
        events.note("session.cut", link=self.driver.link, session=session[:8], ended=ended)
        log.info("session cut", session=session[:8], ended=ended)

    def on_revoked(self, order: int, ended: int) -> None:
        """Never called: only the relay gives orders."""

    def on_tools(self, upstream: str, tools: list[ToolWord]) -> None:
        """Never called: the relay has no tools."""

    def on_late(self, whose: str, answer: bytes) -> None:
        """Never called: only the relay cuts."""

    def on_cut(self, seconds: float) -> None:
        """The connection is gone, and we have this long to resume the link on another."""
        events.note("link.cut", link=self.driver.link, waits=seconds)
        self._close = (CUT, "the connection was cut")
        self._gone.set()

    def on_lost(self, code: int, reason: str) -> None:
        """The link is gone."""
        self._timer.cancel()
        events.note("link.down", link=self.driver.link, code=int(code), reason=reason)
        self._close = (code, reason)
        self._gone.set()

    def resume(self, socket: MessageTransport, taken: int) -> None:
        """Go on over another connection, whose relay took `taken` frames; raises PeerError."""
        self._gone = anyio.Event()
        self.driver.resume(socket, taken)
        self.resumed += 1
        events.note("link.resumed", link=self.driver.link, times=self.resumed)

    def lapse(self) -> None:
        """The lease is over: end what waits for a relay that may have ended it long ago."""
        if self.driver.detached:
            self.driver.close(CUT, "the lease is over")

    async def gone(self) -> tuple[int, str]:
        """Wait until the connection is gone; returns the close code and reason."""
        await self._gone.wait()
        return self._close
