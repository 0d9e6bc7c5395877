"""Which clients are connected now: the links of this relay, by tunnel and instance."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import anyio
import structlog

from shared.errors import CloseCode
from shared.link.driver import LinkDriver, StreamHandler
from shared.link.transport import MessageTransport
from shared.wire.limits import LinkLimits
from shared.wire.mux import Role

log = structlog.get_logger("tunnel_relay.links")

REVOKE_WAIT = 2.0
"""Seconds a client gets to say that it cut a session; the report names who did not."""


class Link:
    """One client's link: what the driver reports about it, and what the relay knows of it."""

    def __init__(self, registry: "Registry", tunnel: str, instance: str, epoch: int) -> None:
        self._registry = registry
        self.tunnel = tunnel
        self.instance = instance
        self.epoch = epoch
        self.peer = ""
        self.program = ""
        self.since = time.time()
        self.upstreams: frozenset[str] = frozenset()
        self.orders: dict[int, Callable[[int | None], None]] = {}
        self.driver: LinkDriver

    def attach(self, transport: MessageTransport, limits: LinkLimits) -> None:
        """Start to drive the link over a transport whose handshake is over."""
        self.driver = LinkDriver(transport, Role.RELAY, limits, self)

    def on_open(self, stream: int, head: bytes, end: bool) -> StreamHandler | None:
        """Never called: the mux of the relay's role refuses OPEN frames."""
        return None

    def on_request(self, stream: int, head: bytes, body: bytes) -> StreamHandler | None:
        """Never called: the mux of the relay's role refuses REQUEST frames."""
        return None

    def on_catalog(self, upstreams: list[str]) -> None:
        """The client serves these upstreams now."""
        self.upstreams = frozenset(upstreams)
        self._registry.changed()

    def on_drain(self, detail: str) -> None:
        """Never called: only the relay drains."""

    def on_revoke(self, order: int, session: str) -> None:
        """Never called: only the relay revokes."""

    def on_revoked(self, order: int, ended: int) -> None:
        """The client carried out an order."""
        told = self.orders.pop(order, None)
        if told is not None:
            told(ended)

    def on_lost(self, code: int, reason: str) -> None:
        """The link is gone."""
        self._registry.remove(self)
        orders, self.orders = self.orders, {}
        for told in orders.values():
            told(None)
        log.info("link lost", **self.names(), code=code, reason=reason)

    def names(self) -> dict[str, Any]:
        """Return what a log line says about the link."""
        return {"tunnel": self.tunnel, "instance": self.instance[:8], "epoch": self.epoch}

    def facts(self) -> dict[str, Any]:
        """Return what `status` shows about the link."""
        return {
            **self.names(),
            "instance": self.instance,
            "peer": self.peer,
            "program": self.program,
            "since": self.since,
            "upstreams": sorted(self.upstreams),
            "streams": self.driver.open_streams,
            "round_trip_ms": round(self.driver.round_trip * 1000, 2),
        }


class Registry:
    """All links of this relay. Lookups are plain dictionary reads; waiting is rare.

    `ended` tells of a tunnel which sessions ended lately, for clients that were away.
    """

    def __init__(self, ended: Callable[[str], Sequence[str]] = lambda _: ()) -> None:
        self._ended = ended
        self._tunnels: dict[str, dict[str, Link]] = {}
        self._changed = anyio.Event()
        self._order = 0

    def __len__(self) -> int:
        return sum(len(links) for links in self._tunnels.values())

    def changed(self) -> None:
        """Wake requests that wait for a client."""
        self._changed.set()
        self._changed = anyio.Event()

    def add(self, link: Link) -> None:
        """Take a link into service; the newest epoch of an instance wins."""
        links = self._tunnels.setdefault(link.tunnel, {})
        before = links.get(link.instance)
        links[link.instance] = link
        if before is not None:
            before.driver.close(CloseCode.REPLACED, "a newer link of this client took over")
        log.info("link up", **link.names(), peer=link.peer)
        # What ended while the client was away: it may still hold MCP sessions and children of it.
        for session in self._ended(link.tunnel):
            self._order = self._order % 0xFFFFFFFF + 1
            link.driver.revoke(self._order, session)

    def remove(self, link: Link) -> None:
        """Forget a link, unless a newer one took its place."""
        links = self._tunnels.get(link.tunnel)
        if links is not None and links.get(link.instance) is link:
            del links[link.instance]
            if not links:
                del self._tunnels[link.tunnel]

    def find(self, tunnel: str, upstream: str, instance: str | None = None) -> Link | None:
        """Return a link that can open a stream to the upstream now; with `instance` only its."""
        links = self._tunnels.get(tunnel)
        if links is None:
            return None
        if instance is not None:
            link = links.get(instance)
            return link if link and upstream in link.upstreams and not link.driver.full else None
        best: Link | None = None
        for link in links.values():
            if (
                upstream in link.upstreams
                and not link.driver.full
                and (best is None or link.driver.open_streams < best.driver.open_streams)
            ):
                best = link
        return best

    async def wait(
        self, tunnel: str, upstream: str, instance: str | None, seconds: float
    ) -> Link | None:
        """Return a link as `find` does, waiting for one to come up; None when none did."""
        with anyio.move_on_after(seconds):
            while True:
                link = self.find(tunnel, upstream, instance)
                if link is not None:
                    return link
                await self._changed.wait()
        return None

    def links(self) -> list[dict[str, Any]]:
        """Return the facts of every link."""
        return [link.facts() for links in self._tunnels.values() for link in links.values()]

    def of_tunnel(self, tunnel: str) -> list[Link]:
        """Return the links of one tunnel."""
        return list(self._tunnels.get(tunnel, {}).values())

    def close_tunnel(self, tunnel: str, code: CloseCode, reason: str) -> int:
        """Close every link of a tunnel; returns how many there were."""
        links = self.of_tunnel(tunnel)
        for link in links:
            link.driver.close(code, reason)
        return len(links)

    def close_instance(self, instance: str, code: CloseCode, reason: str) -> int:
        """Close the link of one client; returns how many there were."""
        found = [links[instance] for links in list(self._tunnels.values()) if instance in links]
        for link in found:
            link.driver.close(code, reason)
        return len(found)

    def close_all(self, code: CloseCode, reason: str) -> None:
        """Close every link."""
        for tunnel in list(self._tunnels):
            self.close_tunnel(tunnel, code, reason)

    async def revoke(self, sessions: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
        """Tell every client of a tunnel to cut a session, for each pair of these two.

        Returns who cut what, or who is silent.

        The orders leave in this turn of the loop; only the answers are waited for.
        """
        loop = asyncio.get_running_loop()
        reports: list[dict[str, Any]] = []
        waiting = 0
        done = anyio.Event()

        def told(report: dict[str, Any], ended: int | None) -> None:
            nonlocal waiting
            report["ended"] = ended
            report["ms"] = round((loop.time() - started) * 1000, 2)
            waiting -= 1
            if waiting == 0:
                done.set()

        started = loop.time()
        asked: list[tuple[Link, int]] = []
        pairs = ((link, session) for tunnel, session in sessions for link in self.of_tunnel(tunnel))
        for link, session in pairs:
            self._order = self._order % 0xFFFFFFFF + 1
            report: dict[str, Any] = {"instance": link.instance, "ended": None, "ms": None}
            reports.append(report)
            waiting += 1
            link.orders[self._order] = lambda ended, report=report: told(report, ended)  # type: ignore[misc] # bound per link
            asked.append((link, self._order))
            link.driver.revoke(self._order, session)
        try:
            if waiting:
                with anyio.move_on_after(REVOKE_WAIT):
                    await done.wait()
        finally:
            for link, order in asked:  # who stays silent is not waited for any more
                link.orders.pop(order, None)
        return reports
