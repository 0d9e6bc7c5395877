"""Keeps the process's links: one for each slot, spread over the relay's addresses."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio
import structlog

from shared.errors import CloseCode
from shared.ids import is_name
from tunnel_client.audit.calls import Calls
from tunnel_client.client_link import ClientLink
from tunnel_client.dial import DialTarget
from tunnel_client.identity import Identity
from tunnel_client.judge import Judge
from tunnel_client.kept_link import KeptLink
from tunnel_client.lease import Lease
from tunnel_client.permit_desk import PermitDesk
from tunnel_client.process import Process
from tunnel_client.reconnect import GiveUp
from tunnel_client.upstream.base import Upstream

log = structlog.get_logger("tunnel_client.link")


class Client:
    """The daemon's links to its relay, kept up until `GiveUp` or cancellation.

    Slot i dials `targets[i]`, `targets[i + links]` and so on, in turn; with fewer addresses than
    links it shares one.
    """

    def __init__(
        self,
        targets: Sequence[DialTarget],
        tunnel: str,
        relay_key: bytes,
        identity: Identity,
        upstreams: Mapping[str, Upstream],
        judge: Judge,
        permits: PermitDesk,
        calls: Calls,
        *,
        links: int = 1,
        lease: float = 30.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        if not is_name(tunnel):
            raise ValueError("not a tunnel name")
        self._relays = [f"{each.relay.scheme}://{each.relay.authority}" for each in targets]
        self._process = Process(
            tunnel=tunnel,
            relay_key=relay_key,
            identity=identity,
            upstreams=upstreams,
            judge=judge,
            permits=permits,
            calls=calls,
            lease=Lease(lease, upstreams.values()),
            jitter=jitter,
        )
        self.tally = self._process.tally
        self._kept = [
            KeptLink(self._process, slot, targets[slot::links] or [targets[slot % len(targets)]])
            for slot in range(links)
        ]

    def each_link(self, act: Callable[[ClientLink], None]) -> None:
        """Have `act` called with each link when it is up, before anything is served on it."""
        self._process.on_link = act

    @property
    def links(self) -> Sequence[ClientLink]:
        """The links that are not over; one may wait for another connection."""
        return self._process.links

    @property
    def connected(self) -> bool:
        """The relay is connected now."""
        return any(not link.driver.detached for link in self.links)

    async def run(self) -> GiveUp:
        """Keep the links up; returns when there is no point in trying again with any."""
        ends: list[GiveUp] = []
        given_up, told = set[int](), set[int]()

        async def keep(kept: KeptLink) -> None:
            while True:
                end = await kept.run()
                given_up.add(kept.slot)
                if len(given_up) == len(self._kept):
                    ends.append(end)
                    tasks.cancel_scope.cancel()
                    return
                say = log.info if kept.slot in told else log.error
                say("a link is given up, the others go on", slot=kept.slot, why=end.reason)
                told.add(kept.slot)
                if not end.no_place:
                    return
                await kept.wait_for_place()
                given_up.remove(kept.slot)

        try:
            async with anyio.create_task_group() as tasks:
                for kept in self._kept:
                    tasks.start_soon(keep, kept)
        finally:
            for link in list(self.links):  # also those that others took over from
                link.driver.close(CloseCode.GOING_AWAY, "the client stops")
        return ends[0]

    def try_again(self) -> None:
        """Try the links again that the relay had no place for."""
        self._process.maybe_place()

    def status(self) -> dict[str, Any]:
        """Return what `tunnel-client status` shows: of all links together, and of each."""
        told = [kept.last_error for kept in self._kept if kept.last_error is not None]
        waiting = [kept.retry_at for kept in self._kept if kept.retry_at is not None]
        facts: dict[str, Any] = {
            "connected": self.connected,
            "relay": ", ".join(self._relays),
            "tunnel": self._process.tunnel,
            "instance": self._process.identity.instance,
            "links_made": sum(kept.made for kept in self._kept),
            "last_error": told[0] if told else None,
            "retry_at": min(waiting, default=None),
            "links": [facts for kept in self._kept for facts in kept.facts()],
        }
        links = [each.facts() for each in self.links]
        if links:
            first = min(links, key=_first)
            facts |= {key: first[key] for key in ("epoch", "since", "round_trip_ms")}
            facts |= {key: sum(each[key] for each in links) for key in ("streams", "resumed")}
            facts["grants"] = max(each["grants"] for each in links)
            facts["heard_ago"] = min(each["heard_ago"] for each in links)
        return facts


def _first(facts: Mapping[str, Any]) -> tuple[bool, int, float]:
    """Sort the link first that speaks for all: connected, of the lowest slot, the newest."""
    return not facts["connected"], facts["slot"], -facts["since"]
