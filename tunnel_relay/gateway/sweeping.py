"""Once a second: deadlines of agents' connections, comments on silent streams, sessions in use."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import structlog

from tunnel_relay.lease import Lease
from tunnel_relay.sessions import SessionTable

if TYPE_CHECKING:
    from tunnel_relay.gateway.connection import AgentConnection
    from tunnel_relay.gateway.exchange import Exchange
    from tunnel_relay.gateway.http import Gateway

log = structlog.get_logger("tunnel_relay.gateway")

SWEEP_SECONDS = 1.0
AT_A_TIME = 64
"""Looked at before other work has its turn: all of ten thousand at once hold up every call."""

T = TypeVar("T")


async def in_turns(items: Sequence[T], look: Callable[[T], None]) -> None:
    """Look at each item, and let other work go on between some and the next."""
    for start in range(0, len(items), AT_A_TIME):
        for item in items[start : start + AT_A_TIME]:
            look(item)
        await asyncio.sleep(0)


class Sweeper:
    """Looks at every connection and call once a second: no call pays for a timer of its own."""

    def __init__(
        self,
        gateway: "Gateway",
        sessions: SessionTable,
        lease: Lease,
        comment_every: float,
        clock: Callable[[], float],
    ) -> None:
        """Look after `gateway`; a stream silent for `comment_every` seconds gets a comment."""
        self._gateway = gateway
        self._sessions, self._lease = sessions, lease
        self._comment_every, self._clock = comment_every, clock

    async def run(self) -> None:
        """Sweep until cancelled."""
        now = self._gateway.time()
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            since, now = now, self._gateway.time()
            await self.sweep(since, now)

    async def sweep(self, since: float, now: float) -> None:
        """Do what is due; both times are monotonic, `since` is that of the sweep before."""
        gateway = self._gateway
        wall = self._sessions.reach(self._clock())
        gateway.quotas.forget(now)
        gateway.binding.forget(now)
        if gateway.running and not self._lease.held:
            log.error("calls_cut", calls=gateway.cut_unchecked(), reason="the lease lapsed")

        def on_connection(connection: "AgentConnection") -> None:
            if 0 < connection.deadline <= now:
                connection.expire()

        def on_exchange(exchange: "Exchange") -> None:
            if exchange.done:
                return
            if exchange.in_use(since):
                in_use.add(exchange.call.session.id)
            exchange.sweep(now, self._comment_every)

        in_use: set[str] = set()
        await in_turns(list(gateway.connections), on_connection)
        await in_turns(gateway.running.all(), on_exchange)
        for session in in_use:
            self._sessions.keep_in_use(session, wall)
