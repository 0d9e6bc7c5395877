"""What the store keeps of users' passkeys; nothing of one is a secret."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class OwnPasskey:
    """A passkey that a user registered in the console.

    `credential` is what authenticators call it, base64url; `key` its text as policies list it.
    """

    id: str
    user: str
    credential: str
    key: str
    name: str
    """For people to read; decides nothing."""
    added: float
    last_used: float | None = None


class PasskeyStore(Protocol):
    """The part of the store that keeps passkeys; as `tunnel_relay.store.base.Store`."""

    async def add_passkey(self, passkey: OwnPasskey) -> None:
        """Keep a new passkey."""

    async def passkeys(self) -> list[OwnPasskey]:
        """Return every passkey, oldest first."""

    async def use_passkey(self, passkey: str, at: float) -> None:
        """Note when a passkey signed; of one that is gone nothing."""

    async def remove_passkey(self, passkey: str) -> None:
        """Forget a passkey by its identifier."""
