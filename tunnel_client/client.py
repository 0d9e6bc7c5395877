"""Keeps one link to the relay: dials, proves who we are, serves streams, and dials again."""

import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import anyio
import structlog

from shared.audit import events
from shared.errors import CloseCode, PeerError, TunnelError
from shared.ids import is_name
from shared.link import handshake
from shared.link.driver import LinkDriver
from shared.link.transport import CUT
from shared.link.websocket import ClientWebSocket, Inbox, LinkLostError
from shared.version import VERSION
from shared.wire.handshake import Hello
from shared.wire.mux import Role
from tunnel_client.audit.calls import Calls
from tunnel_client.client_link import LOOK_SECONDS, ClientLink, is_stuck
from tunnel_client.dial import DialTarget, dial
from tunnel_client.grants import Grants, WallClock
from tunnel_client.identity import Identity
from tunnel_client.judge import Judge
from tunnel_client.lease import Lease
from tunnel_client.permit_desk import PermitDesk
from tunnel_client.reconnect import WORTH_SECONDS, GiveUp, Next, Reconnect
from tunnel_client.tally import Tally, close_name
from tunnel_client.upstream.base import Upstream

log = structlog.get_logger("tunnel_client.link")

CONNECT_SECONDS = 10.0
"""For dialling, the upgrade and the handshake together."""
_LATER = frozenset((CUT, CloseCode.GOING_AWAY, CloseCode.INTERNAL))
"""How an attempt may end and the next one still resume the link."""


class Client:
    """The daemon's connection to its relay, kept up until `GiveUp` or cancellation."""

    def __init__(
        self,
        target: DialTarget,
        tunnel: str,
        relay_key: bytes,
        identity: Identity,
        upstreams: Mapping[str, Upstream],
        judge: Judge,
        permits: PermitDesk,
        calls: Calls,
        *,
        lease: float = 30.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        if not is_name(tunnel):
            raise ValueError("not a tunnel name")
        self._target = target
        self._tunnel = tunnel
        self._relay_key = relay_key
        self._identity = identity
        self._upstreams = upstreams
        self._judge = judge
        self._permits = permits
        self._calls = calls
        self._lease = Lease(lease, upstreams.values())
        self._jitter = jitter
        self._clock = WallClock()
        self.tally = Tally()
        self._ended, self._news = "other", True
        self._link: ClientLink | None = None
        self._fresh: ClientWebSocket | None = None
        self.on_link: Callable[[], None] = lambda: None
        """Called when a link is up, before anything is served on it."""
        self.links_made = 0
        self.last_error: str | None = None
        self.retry_at: float | None = None

    @property
    def link(self) -> ClientLink | None:
        """The link, as long as it is not over; it may wait for another connection."""
        link = self._link
        return link if link is not None and not link.driver.lost else None

    @property
    def connected(self) -> bool:
        """The relay is connected now."""
        link = self.link
        return link is not None and not link.driver.detached

    async def run(self) -> GiveUp:
        """Keep a link up; returns when there is no point in trying again."""
        reconnect = Reconnect()
        try:
            while True:
                decision = await self._once(reconnect)
                if isinstance(decision, GiveUp):
                    return decision
                if self.link is not None:
                    decision = reconnect.sooner(decision)
                self.retry_at = time.time() + decision.seconds
                self.tally.reconnects[self._ended] += 1
                self._news = reconnect.news
                told = log.info if self._news else log.debug
                told("dialling again", seconds=round(decision.seconds, 2), why=self.last_error)
                await anyio.sleep(decision.seconds)
                self.retry_at = None
        finally:
            if (link := self.link) is not None:
                link.driver.close(CloseCode.GOING_AWAY, "the client stops")

    async def _once(self, reconnect: Reconnect) -> Next:
        began: float | None = None
        try:
            with anyio.fail_after(CONNECT_SECONDS):
                link = await self._connect()
            began = anyio.current_time()
            code, reason = await self._until_gone(link)
            self._lease.link_lost(link.driver.keepalive.last_heard, link.lapse)
        except LinkLostError as error:
            code, reason = error.code, error.reason
        except TimeoutError:
            self._failed(f"no link within {CONNECT_SECONDS:.0f} s")
            self._ended = "timeout"
            return reconnect.after_error(TimeoutError(), up_for=0.0, jitter=self._jitter())
        except (TunnelError, OSError) as error:
            self._failed(str(error))
            self._ended = "refused" if isinstance(error, PeerError) else "unreachable"
            return reconnect.after_error(error, up_for=0.0, jitter=self._jitter())
        up_for = anyio.current_time() - began if began is not None else 0.0
        self.last_error = f"link closed: {code} {reason}".rstrip()
        self._ended = close_name(code)
        # One that held is news, whatever came before it.
        told = log.warning if self._news or up_for >= WORTH_SECONDS else log.debug
        told("link lost", code=code, reason=reason, up_for=round(up_for, 1))
        if self.link is not None and code == CUT and began is not None:
            return reconnect.after_cut(up_for=up_for, jitter=self._jitter())
        if self.link is not None and code not in _LATER:
            self.link.driver.close(code, reason)  # it would not be resumed
        return reconnect.after_close(code, up_for=up_for, jitter=self._jitter())

    def _failed(self, why: str) -> None:
        """Note why there is no link; the same again is no news."""
        if why != self.last_error:
            events.note("link.failed", relay=self._target.relay.authority, reason=why)
        self.last_error = why

    async def _connect(self) -> ClientLink:
        relay = self._target.relay
        # Blocks for an fsync; nothing else runs on this loop while there is no link to serve.
        counter = self._identity.next_counter()
        before = self.link
        fresh, self._fresh = self._fresh, None
        socket = fresh or await self._open()
        try:
            inbox = await socket.opened()
            hello = self._hello(counter, before)
            agreed = await handshake.prove(
                socket, inbox, hello, self._identity.key, self._relay_key
            )
            self._lease.check(agreed.limits)
            if before is not None and agreed.taken is not None:
                return self._resume(before, socket, inbox, agreed.taken)
            if before is not None:
                before.driver.close(CUT, "the relay does not go on with it")
            link = self._new_link(socket, agreed, counter)
            inbox.hand_over(link.driver)
            link.driver.catalog(sorted(self._upstreams))
        except PeerError as error:
            socket.close(error.close_code, "handshake failed")
            raise
        except BaseException:
            socket.abort()
            raise
        self._link = link
        facts = {"relay": relay.authority, "epoch": counter, "instance": hello.instance}
        events.note("link.up", link=agreed.link, **facts)
        self.on_link()
        self._lease.link_up()
        self.links_made += 1
        log.info("link up", relay=relay.authority, epoch=counter)
        return link

    async def _open(self) -> ClientWebSocket:
        """Dial the relay and have it take us for a WebSocket; raises as both."""
        relay = self._target.relay
        url, words = f"{relay.scheme}://{relay.authority}/tunnel", f"MCP-Tunnel {self._tunnel}"
        _, socket = await dial(self._target, lambda: ClientWebSocket(url, words))
        try:
            await socket.opened()
        except BaseException:
            socket.abort()
            raise
        return socket

    async def _until_gone(self, link: ClientLink) -> tuple[int, str]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._leave_stuck, link)
            ended = await link.gone()
            tasks.cancel_scope.cancel()
        return ended

    async def _leave_stuck(self, link: ClientLink) -> None:
        """Leave a connection that carries nothing where a fresh one does.

        After a network was gone TCP tries again only when as much time has passed once more.
        """
        driver = link.driver
        while not driver.lost:
            await anyio.sleep(LOOK_SECONDS)
            if not is_stuck(driver):
                continue
            with suppress(TunnelError, OSError), anyio.move_on_after(CONNECT_SECONDS):
                fresh = await self._open()
                if not is_stuck(driver):
                    fresh.abort()
                    continue
                self._fresh = fresh
                log.info("the connection is stuck and another one works")
                driver.give_up("stuck")

    def _hello(self, counter: int, before: ClientLink | None) -> Hello:
        relay = self._target.relay
        goes_on = before is not None and before.driver.resumable
        return Hello(
            tunnel=self._tunnel,
            instance=self._identity.instance,
            counter=counter,
            origin=f"{relay.scheme}://{relay.authority}",
            versions=sorted(handshake.VERSIONS),
            features=sorted(handshake.FEATURES),
            time=int(time.time()),
            program=f"tunnel-client/{VERSION}",
            resume=before.driver.link if before is not None and goes_on else "",
            taken=before.driver.taken if before is not None and goes_on else 0,
        )

    def _new_link(
        self, socket: ClientWebSocket, agreed: handshake.Agreed, counter: int
    ) -> ClientLink:
        link = ClientLink(
            self._upstreams,
            self._grants(counter),
            self._judge,
            self._permits,
            self._calls,
            self.tally,
            counter,
        )
        link.driver = LinkDriver(socket, Role.CLIENT, agreed.limits, link, agreed.link)
        return link

    def _resume(
        self, link: ClientLink, socket: ClientWebSocket, inbox: Inbox, taken: int
    ) -> ClientLink:
        if link.driver.lost:
            raise LinkLostError(CUT, "the link was given up while its relay resumed it")
        link.resume(socket, taken)
        inbox.hand_over(link.driver)
        self._lease.link_up()
        self.tally.resumed += 1
        told = log.info if self._news else log.debug
        told("link resumed", relay=self._target.relay.authority, times=link.resumed)
        return link

    def _grants(self, epoch: int) -> Grants:
        instance = self._identity.instance
        return Grants(self._relay_key, self._tunnel, instance, epoch, self._clock)

    def status(self) -> dict[str, Any]:
        """Return what `tunnel-client status` shows about the link."""
        link = self.link
        facts: dict[str, Any] = {
            "connected": self.connected,
            "relay": f"{self._target.relay.scheme}://{self._target.relay.authority}",
            "tunnel": self._tunnel,
            "instance": self._identity.instance,
            "links_made": self.links_made,
            "last_error": self.last_error,
            "retry_at": self.retry_at,
        }
        if link is not None:
            facts |= {
                "epoch": link.epoch,
                "since": link.since,
                "streams": link.driver.open_streams,
                "resumed": link.resumed,
                "grants": link.grants,
                "round_trip_ms": round(link.driver.round_trip * 1000, 2),
                "heard_ago": round(
                    max(0.0, time.monotonic() - link.driver.keepalive.last_heard), 1
                ),
            }
        return facts
