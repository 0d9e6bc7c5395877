"""What admins can do, all of it, and what enrolling and connecting clients ask."""

from typing import Any

from shared.keys import key_fingerprint
from shared.version import VERSION
from tunnel_relay.admin import locks
from tunnel_relay.admin.agents import AgentCommands
from tunnel_relay.admin.approvals import ApprovalCommands
from tunnel_relay.admin.core import in_slices
from tunnel_relay.admin.grants import SessionCommands
from tunnel_relay.admin.passkeys import PasskeyCommands
from tunnel_relay.admin.purging import PurgeCommands
from tunnel_relay.admin.report import ReportCommands
from tunnel_relay.admin.tokens import TokenCommands
from tunnel_relay.admin.tunnels import TunnelCommands
from tunnel_relay.admin.views import SCHEMA_VERSION
from tunnel_relay.admin.vouched import VouchedUsers
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.store.base import LockKind


class Admin(
    TunnelCommands,
    SessionCommands,
    VouchedUsers,
    AgentCommands,
    TokenCommands,
    ApprovalCommands,
    PasskeyCommands,
    ReportCommands,
    PurgeCommands,
):
    """Every command; results are JSON values, refusals are RelayError."""

    async def lock_add(
        self, kind: str, subject: str, reason: str, ttl: float | None = None
    ) -> dict[str, Any]:
        """See `locks.add`."""
        if kind not in set(LockKind):
            raise RelayError(Code.BAD_REQUEST, f"a lock is on one of {', '.join(LockKind)}")
        return await locks.add(self, LockKind(kind), subject, reason, ttl)

    async def lock_list(self) -> list[dict[str, Any]]:
        """See `locks.listed`."""
        return locks.listed(self)

    async def lock_remove(self, lock: str) -> dict[str, Any]:
        """See `locks.remove`."""
        return await locks.remove(self, lock)

    async def status(self) -> dict[str, Any]:
        """Return the state of the relay on one screen."""
        now = self.clock()
        kept, live = self.sessions.newest_first(), 0
        async for ids in in_slices(kept):
            live += sum(over is None for _, over in self.sessions.look(ids, now))
        return {
            "schema_version": SCHEMA_VERSION,
            "version": VERSION,
            "serving": self.serving,
            "uptime": now - self.started if self.serving else None,
            "public_url": list(self.settings.public_url),
            "key": key_fingerprint(self.relay_key),
            "tunnels": len(self.tunnels),
            "cloned": sorted(self._admissions.cloned),
            "disabled": sum(tunnel.disabled for tunnel in self.tunnels.values()),
            "sessions": {"live": live, "ended": len(kept) - live},
            "locks": len(self.locks.holding(now)),
            "approvals": len(self.approvals.pending()),
            "policy": self.policy_facts(),
            "tools": await self.tool_counts(),
            "unstored": len(self.pending),
            "forgettable": self.pending.forgettable,
            "store": self.lease.facts(),
            "issuers": self.issuers(),
            "audit": self.records.status(),
            "links": self.links.links(),
        }
