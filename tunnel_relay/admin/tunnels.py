"""The commands on tunnels: registrations of private networks."""

from dataclasses import replace
from typing import Any

import structlog

from shared.ids import JOIN_PREFIX, new_token
from tunnel_relay.admin.changes import DeleteTunnel, DisableTunnel
from tunnel_relay.admin.checks import check_name
from tunnel_relay.admin.core import AdminCore
from tunnel_relay.admin.links import CLOSE_WAIT
from tunnel_relay.admin.views import instance_view, links_by_tunnel, tunnel_view
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.store.base import ExistsError, Session, Tunnel

log = structlog.get_logger("tunnel_relay.admin")


class TunnelCommands(AdminCore):
    """See `tunnel_relay.admin.service.Admin`."""

    async def tunnel_create(self, name: str, owner: str) -> dict[str, Any]:
        """Register a tunnel; the answer holds the only copy of its join code."""
        check_name(name, "a tunnel")
        tunnel = Tunnel(name, (await self.person(owner, "the owner")).key, self.clock())
        code = new_token(JOIN_PREFIX)
        try:
            async with self.pending.lifting(f"tunnel {name}"):
                await self.store.add_tunnel(tunnel, self.join_code(code, name))
        except ExistsError:
            raise RelayError(Code.TUNNEL_EXISTS, f"a tunnel is called {name!r} already") from None
        self.tunnels[name] = tunnel
        log.info("tunnel_created", tunnel=name, owner=owner)
        return {"tunnel": self._tunnel_view(tunnel, []), **self.joining(code)}

    async def tunnel_list(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Return the tunnels by name, the first `limit` of them."""
        if limit is not None and limit < 1:
            raise RelayError(Code.BAD_REQUEST, "limit is at least 1")
        links = links_by_tunnel(self.links.links())
        shown = sorted(self.tunnels.items())[:limit]
        return [self._tunnel_view(tunnel, links.get(name, [])) for name, tunnel in shown]

    async def tunnel_show(self, name: str) -> dict[str, Any]:
        """Return one tunnel with its enrolled clients."""
        links = links_by_tunnel(self.links.links()).get(name, [])
        shown = self._tunnel_view(self.tunnel(name), links)
        instances = await self.store.instances(name)
        return {**shown, "instances": [instance_view(each, links) for each in instances]}

    async def tunnel_disable(self, name: str) -> dict[str, Any]:
        """Refuse links and sessions of a tunnel until it is enabled, and end the live ones."""
        tunnel = self.tunnels[name] = replace(self.tunnel(name), disabled=True)
        self.block()
        cut = await self.cut([each.id for each in self._running(name)], CLOSE_WAIT)
        closed = self.close_tunnel(name, "the tunnel was disabled")
        stored = await self.keep(DisableTunnel(name))
        log.info("tunnel_disabled", tunnel=name, cut=cut, closed=closed, **stored)
        return {"tunnel": self._tunnel_view(tunnel, []), "cut": cut, "closed": closed, **stored}

    async def tunnel_enable(self, name: str) -> dict[str, Any]:
        """Let a disabled tunnel work again, unless it is disabled or deleted meanwhile."""
        before = self.tunnel(name)
        async with self.pending.lifting(f"tunnel {name}"):
            await self.store.set_disabled(name, False)
        tunnel = self.tunnel(name)
        if tunnel is before:
            tunnel = self.tunnels[name] = replace(tunnel, disabled=False)
            self.block()
            log.info("tunnel_enabled", tunnel=name)
        return {"tunnel": self._tunnel_view(tunnel, self.links.links())}

    async def tunnel_rotate(self, name: str, drop_instances: bool = False) -> dict[str, Any]:
        """Make a new join code, the only unused one; may also forget the enrolled clients."""
        tunnel = self.tunnel(name)
        code = new_token(JOIN_PREFIX)
        await self.store.replace_join_code(self.join_code(code, name), drop_instances)
        closed = 0
        if drop_instances:
            self._admissions.dropped(name)
            closed = self.close_tunnel(name, "its keys were dropped")
        log.info("tunnel_rotated", tunnel=name, dropped=drop_instances, closed=closed)
        shown = self._tunnel_view(tunnel, self.links.links())
        return {"tunnel": shown, "closed": closed, **self.joining(code)}

    async def tunnel_delete(self, name: str) -> dict[str, Any]:
        """Forget a tunnel with its clients and sessions, and end what lives."""
        self.tunnel(name)
        del self.tunnels[name]
        self._admissions.dropped(name)
        ending = [each.id for each in self._running(name)]
        for session in ending:
            self.sessions.revoke(session, self.clock(), "the tunnel was deleted")
        cut = await self.cut(ending, CLOSE_WAIT)
        closed = self.close_tunnel(name, "the tunnel was deleted")
        sessions = len(self.sessions.drop_tunnel(name))
        self.bars.drop_tunnel(name)
        self.block()
        stored = await self.keep(DeleteTunnel(name))
        report = {"cut": cut, "closed": closed, "sessions": sessions, **stored}
        log.info("tunnel_deleted", tunnel=name, **report)
        return {"deleted": name, **report}

    def _tunnel_view(self, tunnel: Tunnel, links: list[dict[str, Any]]) -> dict[str, Any]:
        return {**tunnel_view(tunnel, links), "cloned": tunnel.name in self._admissions.cloned}

    def _running(self, tunnel: str) -> list[Session]:
        """Return the sessions of a tunnel that may run something."""
        now = self.clock()
        return [
            each
            for each in self.sessions.each()
            if each.tunnel == tunnel and each.revoked is None and now < each.expires
        ]
