"""The admin tokens in force: in memory, as sessions are. Pure."""

import math
from collections.abc import Iterable, Sequence

from shared.ids import ADMIN_PREFIX, is_token, token_digest
from tunnel_relay.store.base import AdminToken


class AdminTokens:
    """All tokens of the admin API by their digest.

    The latest `now` seen is a high-water mark: setting the clock back revives nothing.
    """

    def __init__(self) -> None:
        self._by_digest: dict[bytes, AdminToken] = {}
        self._mark = -math.inf

    def put(self, token: AdminToken) -> None:
        """Let a token work."""
        self._by_digest[token.digest] = token

    def find(self, token: str, now: float) -> AdminToken | None:
        """Return what is known of a token that works, None when there is nothing."""
        if not token.startswith(ADMIN_PREFIX) or not is_token(token):
            return None
        self._mark = max(self._mark, now)
        found = self._by_digest.get(token_digest(token))
        return found if found is not None and self._mark < found.expires else None

    def working(self, now: float, user: str | None = None) -> list[AdminToken]:
        """Return the tokens that have not expired, of one user or of all, oldest first."""
        now = max(self._mark, now)
        return [
            token
            for token in self._by_digest.values()
            if now < token.expires and user in (None, token.user)
        ]

    def drop(self, tokens: Iterable[AdminToken]) -> None:
        """Let these work no more."""
        for token in tokens:
            self._by_digest.pop(token.digest, None)

    def of_user(self, user: str) -> Sequence[AdminToken]:
        """Return every token of a user, expired ones too."""
        return [token for token in self._by_digest.values() if token.user == user]
