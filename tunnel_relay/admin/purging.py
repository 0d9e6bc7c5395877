"""Removing old records: one person asks, another one agrees, and a tombstone says so (A14)."""

from typing import Any

from shared.audit.private import AuditError
from shared.audit.retention import purge
from shared.ids import new_id
from tunnel_relay.admin.acting import OPERATOR, actor
from tunnel_relay.admin.audit import AuditCommands
from tunnel_relay.admin.checks import check_text
from tunnel_relay.audit.purges import Purge
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.store.base import LockKind, Role

MAY = frozenset((Role.ADMIN, Role.AUDITOR))
_DAY = 86_400.0


class PurgeCommands(AuditCommands):
    """See `shared.audit.retention`; there is no other way to take a record out of the log."""

    async def audit_purge_ask(self, before: float, reason: str) -> dict[str, Any]:
        """Ask for segments to be removed whose records are all older than `before`.

        In seconds since 1970. Nothing is removed until somebody else agrees, within an hour.
        """
        self._log()
        who, now = _person(), self.clock()
        keep = self.settings.audit.keep_days
        if not 0 < before <= now - keep * _DAY:
            raise RelayError(Code.PURGE_REFUSED, f"records are kept for {keep} days")
        wish = Purge(new_id(), before, who, check_text(reason, "the reason"), now)
        if not self.purges.add(wish):
            raise RelayError(Code.PURGE_REFUSED, "too many wait for an answer already")
        return _view(wish)

    async def audit_purge_list(self) -> list[dict[str, Any]]:
        """Return what waits for a second person."""
        return [_view(each) for each in self.purges.listed(self.clock())]

    async def audit_purge_confirm(self, purge_id: str) -> dict[str, Any]:
        """Agree to what another person asked for: the segments are removed."""
        log, who, now = self._log(), _person(), self.clock()
        wish = self.purges.find(purge_id, now)
        if wish is None:
            raise RelayError(Code.PURGE_UNKNOWN, "nobody asks for that, or it was too long ago")
        if wish.by.casefold() == who.casefold():
            raise RelayError(Code.SECOND_PERSON, f"{who} asked for it: somebody else has to agree")
        if not self._may_still(wish.by, now):
            raise RelayError(Code.SECOND_PERSON, f"{wish.by} may not ask for that any more")
        if not self.purges.take(wish):
            raise RelayError(Code.PURGE_UNKNOWN, "somebody else was faster")
        keep, done = self.settings.audit.keep_days * _DAY, None
        try:
            done = await purge(log, int(wish.before * 1e6), [wish.by, who], keep_seconds=keep)
        except AuditError as error:
            raise RelayError(Code.PURGE_REFUSED, str(error)) from None
        finally:
            if done is None:  # nothing came of it: agreeing again needs nobody to ask again
                self.purges.put_back(wish)
        return {"segments": done.segments, "first_left": done.first_left, **_view(wish)}

    def _may_still(self, user: str, now: float) -> bool:
        found = self.directory.active_user(user)
        locked = self.locks.holds(LockKind.USER, user, now)
        return found is not None and not locked and bool(MAY & frozenset(found.roles))


def _person() -> str:
    """Return who acts; whoever has the relay's machine is no person that was authenticated."""
    if actor() == OPERATOR:
        raise RelayError(Code.SECOND_PERSON, "give this command as a user, with their token")
    return actor()


def _view(wish: Purge) -> dict[str, Any]:
    return {
        "id": wish.id,
        "before": wish.before,
        "by": wish.by,
        "reason": wish.reason,
        "asked": wish.asked,
        "until": wish.until,
    }
