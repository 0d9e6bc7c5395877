"""The commands on admin tokens: what scripts show to the admin API."""

from collections.abc import Sequence
from typing import Any

import structlog

from shared.audit.events import note
from shared.ids import ADMIN_PREFIX, fingerprint, new_id, new_token, token_digest
from tunnel_relay.admin.acting import OPERATOR, actor
from tunnel_relay.admin.changes import EndAdminTokens
from tunnel_relay.admin.checks import check_text, check_user
from tunnel_relay.admin.core import MIN_PREFIX, AdminCore
from tunnel_relay.admin.views import admin_token_view
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.store.base import AdminToken

DEFAULT_TTL = 8 * 3600.0
MAX_TTL = 90 * 86400.0
MAX_TOKENS = 50
"""Of one user at a time."""

log = structlog.get_logger("tunnel_relay.admin")


class TokenCommands(AdminCore):
    """See `tunnel_relay.admin.service.Admin`."""

    async def user_token(
        self, user: str, ttl: float = DEFAULT_TTL, name: str = "admin API"
    ) -> dict[str, Any]:
        """Make an admin token: the answer holds the only copy. It may what its user may."""
        key, name = check_user(user, "the user"), check_text(name, "the name")
        if not 0 < ttl <= MAX_TTL:
            raise RelayError(
                Code.BAD_DURATION, f"an admin token lives at most {MAX_TTL / 86400:.0f}d"
            )
        if actor() not in (OPERATOR, key):
            raise RelayError(Code.NOT_PERMITTED, "nobody makes a token in another's name")
        self._must_be_active(key)
        now, text = self.clock(), new_token(ADMIN_PREFIX)
        if len(self.admin_tokens.working(now, key)) >= MAX_TOKENS:
            raise RelayError(Code.BAD_REQUEST, f"{key} has {MAX_TOKENS} admin tokens already")
        token = AdminToken(new_id(), token_digest(text), key, name, now, now + ttl)
        await self.store.add_admin_token(token)
        try:
            self._must_be_active(key)  # may have changed while we stored
        except RelayError:
            await self._forget([token])
            raise
        self.admin_tokens.put(token)
        note("admin.token_made", user=key, token=token.id, by=actor(), expires=int(token.expires))
        log.info("admin_token_made", user=key, token=fingerprint(token.digest), by=actor())
        return {"admin_token": admin_token_view(token), "token": text}

    async def user_tokens(self, user: str | None = None) -> list[dict[str, Any]]:
        """Return the admin tokens that work, of one user or of all, oldest first."""
        return [admin_token_view(each) for each in self.admin_tokens.working(self.clock(), user)]

    async def user_token_revoke(self, token: str) -> dict[str, Any]:
        """End an admin token at once; its identifier may be shortened."""
        working = self.admin_tokens.working(self.clock())
        found = [each for each in working if each.id.startswith(token)]
        if len(token) < MIN_PREFIX or len(found) != 1:
            raise RelayError(Code.TOKEN_UNKNOWN, f"{len(found)} tokens start with this identifier")
        self.admin_tokens.drop(found)
        stored = await self._forget(found)
        note("admin.token_revoked", user=found[0].user, token=found[0].id, by=actor())
        log.info("admin_token_ended", user=found[0].user, token=found[0].id, by=actor(), **stored)
        return {"admin_token": admin_token_view(found[0]), **stored}

    async def _forget(self, tokens: Sequence[AdminToken]) -> dict[str, Any]:
        ids = [each.id for each in tokens]
        return await self.keep(EndAdminTokens(tuple(ids)))

    def _must_be_active(self, key: str) -> None:
        if key not in self.directory.users:
            raise RelayError(Code.USER_UNKNOWN, f"no user is called {key!r}")
        if self.directory.active_user(key) is None:
            raise RelayError(Code.USER_DISABLED, f"{key} is disabled")
