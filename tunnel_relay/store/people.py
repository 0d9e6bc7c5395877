"""What the store keeps of users, agents and the tokens of admins; see `tunnel_relay.store.base`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tunnel_relay.store.base import AdminToken, Agent, User


class PeopleStore(Protocol):
    """A part of `Store`; every method raises StoreError and is one transaction."""

    async def put_user(self, user: "User") -> None:
        """Keep a user, in place of one with the same key."""

    async def change_user(self, user: "User") -> None:
        """Store what a known user is now, all but password and last login."""

    async def users(self) -> "list[User]":
        """Return all users by key."""

    async def put_agent(self, agent: "Agent") -> None:
        """Keep an agent, in place of one with the same identifier."""

    async def disable_agent(self, agent: str, at: float) -> None:
        """Switch a known agent off."""

    async def agents(self) -> "list[Agent]":
        """Return all agents by identifier."""

    async def add_admin_token(self, token: "AdminToken") -> None:
        """Keep a token of the admin API."""

    async def admin_tokens(self) -> "list[AdminToken]":
        """Return every token of the admin API still kept, oldest first."""

    async def remove_admin_tokens(self, tokens: Sequence[str]) -> None:
        """Forget tokens of the admin API by their identifiers."""
