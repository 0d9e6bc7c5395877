"""The passkeys that users registered: in memory, as admin tokens are. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import replace

from shared.passkey import PREFIX, Passkey
from tunnel_relay.store.passkeys import OwnPasskey


class Passkeys:
    """All registered passkeys by their identifier."""

    def __init__(self, known: Iterable[OwnPasskey] = ()) -> None:
        self._by_id = {each.id: each for each in known}

    def put(self, passkey: OwnPasskey) -> None:
        """Let a passkey sign."""
        self._by_id[passkey.id] = passkey

    def drop(self, passkey: str) -> None:
        """Let it sign no more."""
        self._by_id.pop(passkey, None)

    def listed(self, user: str | None = None) -> list[OwnPasskey]:
        """Return the passkeys of one user or of all, oldest first."""
        return [each for each in self._by_id.values() if user in (None, each.user)]

    def find(self, user: str, key: str) -> OwnPasskey | None:
        """Return a user's passkey of this text, None when they have none."""
        return next((each for each in self.listed(user) if each.key == key), None)

    def answering(self, user: str, fingerprints: Collection[str]) -> list[OwnPasskey]:
        """Return which of a user's passkeys a client lists, by the keys' fingerprints."""
        return [
            each
            for each in self.listed(user)
            if Passkey.parse(each.key).fingerprint in fingerprints
        ]

    def lacks(self, user: str, key: str) -> bool:
        """Tell whether a key is a passkey that its user does not have, or not any more."""
        return key.startswith(PREFIX) and self.find(user, key) is None

    def used(self, passkey: str, at: float) -> None:
        """Note when one signed."""
        known = self._by_id.get(passkey)
        if known is not None:
            self._by_id[passkey] = replace(known, last_used=at)
