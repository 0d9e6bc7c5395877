"""Which clients are connected now: the links of this relay, by tunnel and instance.

A client keeps several links; calls go over the best one, and what binds a call binds it to the
client, never to a link.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import anyio
import structlog

from shared.audit.events import note
from shared.errors import CloseCode
from tunnel_relay.clients.absent import Absent, is_gone
from tunnel_relay.clients.failing import Failing
from tunnel_relay.clients.link import Link
from tunnel_relay.clients.orders import Orders, Revoking
from tunnel_relay.tools import Told

log = structlog.get_logger("tunnel_relay.links")

LOOK_SECONDS = 0.1
"""How often a call that waits for a full link looks at it."""
SILENT = 1 << 22
"""What a link counts for that owes an answer: more than one that drains, which still works."""
FAILING = 1 << 23
"""What a client counts for whose upstream was not reachable: who is silent may yet answer."""


class Registry:
    """All links of this relay. Lookups are plain dictionary reads; waiting is rare.

    `ended` tells of a tunnel which sessions ended lately, for clients that were away; `lease` is
    how many seconds one may go on serving without its link; for `closed_seconds` a link whose
    connection was closed waits for its client; `may_connect` tells whether a tunnel's instance may.
    """

    def __init__(
        self,
        lease: float,
        ended: Callable[[str], Sequence[str]] = lambda _: (),
        closed_seconds: float = 0.0,
        may_connect: Callable[[str, str], bool] = lambda *_: True,
    ) -> None:
        self.closed_seconds = closed_seconds
        self.draining = False
        """No new links: only those that were cut may go on over another connection."""
        self._detail = ""
        self._lease = lease
        self._ended = ended
        self._may_connect = may_connect
        self._tunnels: dict[str, dict[str, list[Link]]] = {}
        self._count = 0
        self._absent = Absent(lease)
        self.failing = Failing()
        self._changed = anyio.Event()
        self._order = 0
        self.resumed = 0
        self.lost: Counter[str] = Counter()
        """Links that ended, by the name of the close code."""
        self.crowded: Counter[str] = Counter()
        """Handshakes that were one too many: refused, or taken on for another that was dropped."""

    def __len__(self) -> int:
        return self._count  # asked with each handshake

    def _each(self) -> Iterator[Link]:
        for clients in self._tunnels.values():
            for links in clients.values():
                yield from links

    @property
    def connected(self) -> int:
        """How many links have their connection."""
        return sum(not link.driver.detached for link in self._each())

    def changed(self) -> None:
        """Wake requests that wait for a client."""
        self._changed.set()
        self._changed = anyio.Event()

    def add(self, link: Link) -> None:
        """Take a link into service, beside the others of its process.

        It takes the place of the one in its slot, unless that drains, and of all links of another
        process: the client was started anew.
        """
        clients = self._tunnels.setdefault(link.tunnel, {})
        before = clients.get(link.instance, [])
        kept = [each for each in before if _goes_on(each, link)]
        clients[link.instance] = sorted([*kept, link], key=_slot)
        self._count += len(kept) + 1 - len(before)
        if kept:
            link.tools = kept[0].tools
        self._absent.back((link.tunnel, link.instance))
        for each in before:
            if each not in kept:
                each.driver.close(CloseCode.REPLACED, "a newer link of this client took over")
        log.info("link up", **link.names(), peer=link.peer)
        note("link.up", **link.named(), source=link.peer, program=link.program)
        # What ended while the client was away: it may still hold MCP sessions and children of it.
        for session in self._ended(link.tunnel):
            self._order = self._order % 0xFFFFFFFF + 1
            link.driver.revoke(self._order, session)
        if self.draining:  # its handshake began before that
            link.driver.drain(self._detail)

    def remove(self, link: Link, code: int) -> None:
        """Forget a link that ended with a close code, unless a newer one took its place."""
        clients = self._tunnels.get(link.tunnel, {})
        links = clients.get(link.instance, [])
        if link not in links:
            return
        links.remove(link)
        self._count -= 1
        client, now = (link.tunnel, link.instance), time.monotonic()
        self._absent.closed(client, code)
        if not links:
            del clients[link.instance]
            self._absent.lost(client, now)
            if not clients:
                del self._tunnels[link.tunnel]
        if self._absent.stopped(client):
            self.changed()  # what waits for it need not wait any more

    def gone(self, tunnel: str, upstream: str, instance: str) -> bool:
        """Tell whether a client has no connection and brings nothing back that agents began."""
        links = self._tunnels.get(tunnel, {}).get(instance, ())
        if any(not link.driver.detached for link in links):
            return False
        client = tunnel, instance
        return is_gone(
            may_connect=self._may_connect(tunnel, instance),
            stopped=self._absent.stopped(client),
            away=0.0 if links else self._absent.away(client, time.monotonic()),
            others=self.find(tunnel, upstream) is not None,
        )

    def beside(self, link: Link) -> list[Link]:
        """Return the other links of a link's client."""
        links = self._tunnels.get(link.tunnel, {}).get(link.instance, ())
        return [each for each in links if each is not link]

    def resumable(self, tunnel: str, instance: str, link: str) -> Link | None:
        """Return the link of this name and client, if it can go on over another connection."""
        for found in self._tunnels.get(tunnel, {}).get(instance, ()):
            if found.driver.link == link and found.driver.resumable:
                return found
        return None

    def find(self, tunnel: str, upstream: str, instance: str | None = None) -> Link | None:
        """Return the best link that can open a stream to the upstream now.

        With `instance` only of its links; else of the client with the fewest streams, of those
        whose upstream was reachable if there is one.
        """
        clients = self._tunnels.get(tunnel)
        if clients is None:
            return None
        if instance is not None:
            return _best(clients.get(instance, ()), upstream)
        found, fewest = None, 0
        for links in clients.values():
            link = _best(links, upstream)
            if len(clients) == 1:
                return link
            if link is None:
                continue
            streams = sum(each.driver.open_streams for each in links)
            if link.watch.doubted:
                streams += SILENT
            if self.failing and self.failing.avoided((tunnel, link.instance, upstream)):
                streams += FAILING
            if found is None or streams < fewest:
                found, fewest = link, streams
        return found

    async def wait(
        self, tunnel: str, upstream: str, instance: str | None, seconds: float
    ) -> Link | None:
        """Return a link as `find` does, waiting for one to come up; None when none did.

        A link that may yet be resumed is waited for as long as that is so, at most twice as long
        as it is at first: one that is cut over and over holds no call for ever. A client that is
        gone is not waited for.
        """
        with anyio.move_on_after(seconds) as scope:
            last: float | None = None
            while True:
                link = self.find(tunnel, upstream, instance)
                if link is not None:
                    return link
                if instance is not None and self.gone(tunnel, upstream, instance):
                    return None
                cut = self._cut_until(tunnel, upstream, instance)
                if last is None and cut:
                    last = 2 * cut - anyio.current_time()
                if last is not None:
                    scope.deadline = max(scope.deadline, min(cut, last))
                # Nobody says when a link that is full has room again.
                full = self._is_up(tunnel, upstream, instance)
                with anyio.move_on_after(LOOK_SECONDS if full else None):
                    await self._changed.wait()
        return self.find(tunnel, upstream, instance)

    def _is_up(self, tunnel: str, upstream: str, instance: str | None) -> bool:
        return any(
            not link.driver.detached
            and upstream in link.upstreams
            and instance in (None, link.instance)
            for link in self.of_tunnel(tunnel)
        )

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
        for tunnel in self._tunnels:
            yield tunnel, self.of_tunnel(tunnel)

    def links(self) -> list[dict[str, Any]]:
        """Return the facts of every link."""
        return [link.facts() for link in self._each()]

    def tools(self) -> list[Told]:
        """Return what every client says of the tools of each upstream that it offers."""
        return [
            Told(links[0].tunnel, links[0].instance, upstream, links[0].tools.get(upstream))
            for clients in self._tunnels.values()
            for links in clients.values()
            for upstream in sorted(set[str]().union(*(link.upstreams for link in links)))
        ]

    def of_tunnel(self, tunnel: str) -> list[Link]:
        """Return the links of one tunnel."""
        return [link for links in self._tunnels.get(tunnel, {}).values() for link in links]

    def close_tunnel(self, tunnel: str, code: CloseCode, reason: str) -> int:
        """Close every link of a tunnel; returns how many there were."""
        links = self.of_tunnel(tunnel)
        for link in links:
            link.driver.close(code, reason)
        return len(links)

    def close_instance(self, instance: str, code: CloseCode, reason: str) -> int:
        """Close the links of one client; returns how many there were."""
        found = [link for link in self._each() if link.instance == instance]
        for link in found:
            link.driver.close(code, reason)
        return len(found)

    def drain(self, detail: str) -> None:
        """Ask every client to be on a link to another relay soon."""
        self.draining, self._detail = True, detail
        for link in self._each():
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
        # A client ends a session on all its links, whichever of them the order came by.
        told = {link.instance for link in orders}
        silent = {
            each.instance: _not_told(each.instance, self._until(each, started))
            for each in sorted(cut, key=lambda link: link.cut_at)
            if each.instance not in told
        }
        away = self._away({tunnel for tunnel, _ in sessions}, started)
        away = [each for each in away if each["instance"] not in told | silent.keys()]
        return Revoking(orders, [*away, *silent.values()], self._lease)

    def _until(self, link: Link, now: float) -> float:
        """Return within how many seconds the lease ends of a client whose connection was cut."""
        return max(self._lease - (now - link.cut_at), 0.0)

    def _away(self, tunnels: Collection[str], now: float) -> list[dict[str, Any]]:
        """Report the clients that lost their link so lately that their lease still runs."""
        return [
            _not_told(instance, left)
            for (tunnel, instance), left in self._absent.leases(now)
            if tunnel in tunnels
        ]


def _slot(link: Link) -> int:
    return link.slot


def _goes_on(before: Link, link: Link) -> bool:
    """Tell whether a link stays though a newer one of its client came."""
    if before.process != link.process:
        return False
    return before.slot != link.slot or before.driver.draining


def _best(links: Iterable[Link], upstream: str) -> Link | None:
    """Return the link with the least load of those that can open a stream to the upstream."""
    best, least = None, 0
    for link in links:
        if upstream in link.upstreams:
            load = link.driver.load
            if link.watch.doubted and load >= 0:
                load += SILENT
            if not load:
                return link  # mostly the first: nobody has less
            if load >= 0 and (best is None or load < least):
                best, least = link, load
    return best


def _not_told(instance: str, lease: float) -> dict[str, Any]:
    """Report a client that could not be told, whose lease ends in so many seconds."""
    facts = {"instance": instance, "connected": False, "links": 0, "ended": None, "ms": None}
    return {**facts, "lease": round(lease, 1)}
