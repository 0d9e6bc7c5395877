"""Which clients are connected now: the links of this relay, by tunnel and instance."""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import anyio
import structlog

from shared.audit.events import note
from shared.errors import CloseCode
from shared.few import Few
from shared.link.driver import LinkDriver
from shared.link.owner import StreamHandler
from shared.link.transport import MessageTransport
from shared.wire.limits import LinkLimits
from shared.wire.mux import Role
from shared.wire.tools import ToolWord
from tunnel_relay.audit.facts import of_tools
from tunnel_relay.clients.grants import LinkGrants
from tunnel_relay.clients.orders import Orders, Revoking
from tunnel_relay.tools import Told

log = structlog.get_logger("tunnel_relay.links")

_CLOSE_CODES = frozenset(CloseCode)


def close_name(code: int) -> str:
    """Return the name of a close code, `other` for one that is not ours: a peer may send any."""
    return CloseCode(code).name.lower() if code in _CLOSE_CODES else "other"


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
        self.resumed = 0
        self.waits_until = 0.0
        """While its connection is cut: when the link is given up, by the loop's clock."""
        self.upstreams: frozenset[str] = frozenset()
        self.tools: dict[str, dict[str, ToolWord]] = {}
        self.orders: dict[int, Callable[[int | None], None]] = {}
        self.name = ""
        """The same at both ends; see `LinkDriver`."""
        self._few = Few()
        self.driver: LinkDriver
        self.grants: LinkGrants

    def attach(self, transport: MessageTransport, limits: LinkLimits, link: str) -> None:
        """Start to drive the link over a transport whose handshake is over."""
        self.name = link
        closed = min(self._registry.closed_seconds, limits.resume_seconds)
        self.driver = LinkDriver(transport, Role.RELAY, limits, self, link, closed)

    def resume(self, transport: MessageTransport, taken: int, peer: str) -> None:
        """Go on over another connection, whose client took `taken` frames; raises PeerError."""
        self.driver.resume(transport, taken)
        self.peer = peer
        self.resumed += 1
        self._registry.resumed += 1
        self._registry.changed()
        note("link.resumed", **self.named(), source=peer, times=self.resumed)
        log.info("link resumed", **self.names(), peer=peer, times=self.resumed)

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

    def on_grant(self, grant: bytes) -> None:
        """Never called: only the relay grants."""

    def on_tools(self, upstream: str, tools: list[ToolWord]) -> None:
        """The client said all there is to know of an upstream's tools."""
        before = self.tools.get(upstream)
        told = self.tools[upstream] = {tool.name: tool for tool in tools}
        left_out = None if before == told else self._few.take(time.monotonic())
        if left_out is not None:
            facts = of_tools(before or {}, told)
            note("tool.told", **self.named(), upstream=upstream, left_out=left_out, **facts)

    def tool(self, upstream: str, name: str) -> ToolWord | None:
        """Return what the client said of one tool."""
        tools = self.tools.get(upstream)
        return None if tools is None else tools.get(name)

    def on_late(self, whose: str, answer: bytes) -> None:
        """The result of a cut call came: nobody gets it, and the log says that there was one."""
        digest = hashlib.sha256(answer).hexdigest()[:16]
        log.warning(
            "late_result", session=whose[:12], bytes=len(answer), sha256=digest, **self.names()
        )

    def on_cut(self, seconds: float) -> None:
        """The connection is gone, and the client may resume the link on another."""
        self.waits_until = asyncio.get_running_loop().time() + seconds
        self._registry.changed()
        note("link.cut", **self.named(), waits=seconds)
        log.info("link cut", **self.names(), waits=seconds)

    def on_lost(self, code: int, reason: str) -> None:
        """The link is gone."""
        self._registry.lost[close_name(code)] += 1
        self._registry.remove(self)
        orders, self.orders = self.orders, {}
        for told in orders.values():
            told(None)
        log.info("link lost", **self.names(), code=code, reason=reason)
        note("link.down", **self.named(), code=int(code), reason=reason)

    def named(self) -> dict[str, Any]:
        """Return what a record says about the link."""
        return {
            "epoch": self.epoch,
            "instance": self.instance,
            "link": self.name,
            "tunnel": self.tunnel,
        }

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
            "resumed": self.resumed,
            "detached": self.driver.detached,
            "streams": self.driver.open_streams,
            "round_trip_ms": round(self.driver.round_trip * 1000, 2),
        }


class Registry:
    """All links of this relay. Lookups are plain dictionary reads; waiting is rare.

    `ended` tells of a tunnel which sessions ended lately, for clients that were away; `lease` is
    how many seconds one may go on serving without its link; for `closed_seconds` a link whose
    connection was closed waits for its client.
    """

    def __init__(
        self,
        lease: float,
        ended: Callable[[str], Sequence[str]] = lambda _: (),
        closed_seconds: float = 0.0,
    ) -> None:
        self.closed_seconds = closed_seconds
        self.draining = False
        """No new links: only those that were cut may go on over another connection."""
        self._lease = lease
        self._ended = ended
        self._tunnels: dict[str, dict[str, Link]] = {}
        # When clients lost their link, for as long as they may go on without one.
        self._lost: dict[tuple[str, str], float] = {}
        self._changed = anyio.Event()
        self._order = 0
        self.resumed = 0
        self.lost: Counter[str] = Counter()
        """Links that ended, by the name of the close code."""

    def __len__(self) -> int:
        return sum(len(links) for links in self._tunnels.values())

    @property
    def connected(self) -> int:
        """How many links have their connection."""
        links = (link for of_one in self._tunnels.values() for link in of_one.values())
        return sum(not link.driver.detached for link in links)

    def changed(self) -> None:
        """Wake requests that wait for a client."""
        self._changed.set()
        self._changed = anyio.Event()

    def add(self, link: Link) -> None:
        """Take a link into service; the newest epoch of an instance wins."""
        links = self._tunnels.setdefault(link.tunnel, {})
        before = links.get(link.instance)
        links[link.instance] = link
        self._lost.pop((link.tunnel, link.instance), None)
        if before is not None:
            before.driver.close(CloseCode.REPLACED, "a newer link of this client took over")
        log.info("link up", **link.names(), peer=link.peer)
        note("link.up", **link.named(), source=link.peer, program=link.program)
        # What ended while the client was away: it may still hold MCP sessions and children of it.
        for session in self._ended(link.tunnel):
            self._order = self._order % 0xFFFFFFFF + 1
            link.driver.revoke(self._order, session)

    def remove(self, link: Link) -> None:
        """Forget a link, unless a newer one took its place."""
        links = self._tunnels.get(link.tunnel)
        if links is not None and links.get(link.instance) is link:
            del links[link.instance]
            self._note_lost(link)
            if not links:
                del self._tunnels[link.tunnel]

    def _note_lost(self, link: Link) -> None:
        now = asyncio.get_running_loop().time()
        for client, lost in list(self._lost.items()):  # oldest first
            if now - lost < self._lease:
                break
            del self._lost[client]
        self._lost[link.tunnel, link.instance] = now

    def resumable(self, tunnel: str, instance: str, link: str) -> Link | None:
        """Return the link of this name and client, if it can go on over another connection."""
        found = self._tunnels.get(tunnel, {}).get(instance)
        if found is None or found.driver.link != link or not found.driver.resumable:
            return None
        return found

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
        """Return a link as `find` does, waiting for one to come up; None when none did.

        A link that may yet be resumed is waited for as long as that is so, at most twice as long
        as it is at first: one that is cut over and over holds no call for ever.
        """
        with anyio.move_on_after(seconds) as scope:
            last: float | None = None
            while True:
                link = self.find(tunnel, upstream, instance)
                if link is not None:
                    return link
                cut = self._cut_until(tunnel, upstream, instance)
                if last is None and cut:
                    last = 2 * cut - anyio.current_time()
                if last is not None:
                    scope.deadline = max(scope.deadline, min(cut, last))
                await self._changed.wait()
        return None

    def _cut_until(self, tunnel: str, upstream: str, instance: str | None) -> float:
        """Return until when a link that would do and was cut is waited for; 0: there is none."""
        return max(
            (
                link.waits_until
                for link in self.of_tunnel(tunnel)
                if link.driver.detached
                and upstream in link.upstreams
                and instance in (None, link.instance)
            ),
            default=0.0,
        )

    def by_tunnel(self) -> Iterator[tuple[str, list[Link]]]:
        """Yield each tunnel that has a link, with its links."""
        for tunnel, links in self._tunnels.items():
            yield tunnel, list(links.values())

    def links(self) -> list[dict[str, Any]]:
        """Return the facts of every link."""
        return [link.facts() for links in self._tunnels.values() for link in links.values()]

    def tools(self) -> list[Told]:
        """Return what every client says of the tools of each upstream that it offers."""
        return [
            Told(link.tunnel, link.instance, upstream, link.tools.get(upstream))
            for links in self._tunnels.values()
            for link in links.values()
            for upstream in sorted(link.upstreams)
        ]

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

    def drain(self, detail: str) -> None:
        """Ask every client to be on a link to another relay soon."""
        self.draining = True
        for links in self._tunnels.values():
            for link in links.values():
                link.driver.drain(detail)

    def close_all(self, code: CloseCode, reason: str) -> None:
        """Close every link."""
        for tunnel in list(self._tunnels):
            self.close_tunnel(tunnel, code, reason)

    def revoke(self, sessions: Sequence[tuple[str, str]]) -> Revoking:
        """Order every client of a tunnel to cut a session, for each pair of these two.

        The orders leave in this turn of the loop.
        """
        started = asyncio.get_running_loop().time()
        orders: dict[Link, Orders] = {}
        cut: set[Link] = set()
        for tunnel, session in sessions:
            for link in self.of_tunnel(tunnel):
                self._order = self._order % 0xFFFFFFFF + 1
                if link.driver.detached:
                    cut.add(link)  # the order waits with the rest, and nobody for its answer
                else:
                    link.orders[self._order] = orders.setdefault(link, Orders(started)).asked()
                link.driver.revoke(self._order, session)
                link.grants.forget(session)
        told = {link.instance for link in (*orders, *cut)}
        away = self._away({tunnel for tunnel, _ in sessions}, started)
        away = [each for each in away if each["instance"] not in told]
        waiting = [_not_told(each.instance, self._until(each, started)) for each in cut]
        return Revoking(orders, [*away, *waiting], self._lease)

    def _until(self, link: Link, now: float) -> float:
        """Return in how many seconds the lease ends of a client whose connection was cut."""
        return max(self._lease - (now - link.driver.keepalive.last_heard), 0.0)

    def _away(self, tunnels: Collection[str], now: float) -> list[dict[str, Any]]:
        """Report the clients that lost their link so lately that their lease still runs."""
        return [
            _not_told(instance, self._lease - (now - lost))
            for (tunnel, instance), lost in self._lost.items()
            if tunnel in tunnels and now - lost < self._lease
        ]


def _not_told(instance: str, lease: float) -> dict[str, Any]:
    """Report a client that could not be told, whose lease ends in so many seconds."""
    facts = {"instance": instance, "connected": False, "ended": None, "ms": None}
    return {**facts, "lease": round(lease, 1)}
