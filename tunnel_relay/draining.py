"""The way out: nobody new, a word to clients and agents, the end of what runs, in this order.

Of operations of balancers: `/readyz` says 503 first, clients are asked to be elsewhere, answers ask
agents to connect anew, and only then does the relay stop to listen. Calls that began before are
waited for while it still listens: where no other relay takes over, nothing is refused meanwhile.
"""

from collections.abc import Callable, Iterable
from weakref import WeakSet

import anyio
import anyio.lowlevel
import structlog

from shared.audit.events import note
from tunnel_relay.clients.registry import Registry
from tunnel_relay.errors import Code
from tunnel_relay.gateway.answers import Cut
from tunnel_relay.gateway.connection import AgentConnection
from tunnel_relay.gateway.exchange import Exchange
from tunnel_relay.gateway.http import Gateway
from tunnel_relay.settings import Limits

log = structlog.get_logger("tunnel_relay")

LOOK_SECONDS = 0.02
FRESH_SECONDS = 0.5
"""For the first request on a connection that was taken just before the listener stopped."""
RETRY = b"retry: 1000\n\n"
"""How long, in ms, an agent whose event stream ended waits before it connects anew."""
WHY = "the relay stops"


class Draining:
    """One relay's end."""

    def __init__(self, registry: Registry, gateway: Gateway, limits: Limits) -> None:
        self.begun = False
        self.listeners: list[Callable[[], None]] = []
        """Each stops one listener; called once calls that began before are over."""
        self._registry = registry
        self._gateway = gateway
        self._seconds, self._notice = limits.drain_seconds, limits.drain_notice
        self._now = anyio.Event()
        # Nobody says of one that fails at TLS.
        self._taken: WeakSet[AgentConnection] = WeakSet()

    def taken(self, connection: AgentConnection) -> AgentConnection:
        """Remember a connection that was accepted: one that agrees on TLS is nowhere else yet."""
        self._taken.add(connection)
        return connection

    def now(self) -> None:
        """Wait for nothing any more."""
        self._now.set()

    async def run(self) -> None:
        """Do all of it; what still runs at the end is cut, and told so."""
        self.begun = self._gateway.draining = True
        before = [call for call in self._gateway.running.all() if not call.call.pushes]
        note("relay.stopping", calls=len(before), links=len(self._registry))
        log.info("draining", calls=len(before), links=len(self._registry), seconds=self._seconds)
        self._registry.drain(WHY)
        known = set(self._gateway.connections)
        for connection in known:
            connection.close_after = True
        with anyio.move_on_after(self._seconds):
            with anyio.move_on_after(self._notice):
                await self._now.wait()
            await self._until(lambda: all(call.done for call in before))
            for stop in self.listeners:
                stop()
            patience = anyio.current_time() + FRESH_SECONDS
            await self._until(lambda: self._quiet() and self._asked(known, patience))
        self._cut(self._gateway.running.all())
        await anyio.lowlevel.checkpoint()  # links say so before they close

    def _quiet(self) -> bool:
        """End what would never end by itself; tell whether anybody still waits for an answer."""
        for call in self._gateway.running.all():
            if call.call.pushes and call.say(RETRY):
                call.cut(Cut.STOPPING)
        waiting = any(connection.busy for connection in self._gateway.connections)
        return not waiting and not self._gateway.live

    def _asked(self, known: set[AgentConnection], patience: float) -> bool:
        """Tell whether every connection that was taken since brought its request."""
        agreeing = any(each.transport is None for each in self._taken)
        all_known = not agreeing and self._gateway.connections <= known
        return all_known or anyio.current_time() >= patience

    async def _until(self, over: Callable[[], bool]) -> None:
        while not self._now.is_set() and not over():
            with anyio.move_on_after(LOOK_SECONDS):
                await self._now.wait()

    def _cut(self, calls: Iterable[Exchange]) -> None:
        left = [call for call in calls if not call.call.pushes]
        if left:
            log.warning("calls_cut", code=Code.STOPPED_EARLY, calls=len(left), reason=WHY)
        for call in calls:
            call.say(RETRY)
            call.cut(Cut.STOPPING)
