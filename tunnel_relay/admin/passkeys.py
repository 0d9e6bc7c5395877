"""The commands on passkeys: with these approvers sign in the console."""

from typing import Any

import structlog

from shared.ids import new_id
from shared.keys import BadKeyError
from shared.passkey import Passkey, decode
from tunnel_relay.admin.acting import actor, acts_as_admin, confined_to
from tunnel_relay.admin.changes import RemovePasskey
from tunnel_relay.admin.checks import check_text
from tunnel_relay.admin.core import MIN_PREFIX, AdminCore
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.store.passkeys import OwnPasskey

MAX_PASSKEYS = 10
"""Of one user."""
MAX_CREDENTIAL = 1023
"""Bytes, by WebAuthn."""

log = structlog.get_logger("tunnel_relay.admin")


class PasskeyCommands(AdminCore):
    """See `tunnel_relay.admin.service.Admin`."""

    async def passkey_add(self, name: str, credential: str, key: str) -> dict[str, Any]:
        """Register a passkey of the one who acts; only the console's own page gives this.

        `credential` is its identifier in base64url, `key` its text.
        """
        name, user, found = check_text(name, "the name"), actor(), _read(credential, key)
        theirs = self.passkeys.listed(user)
        if any(found.text() == each.key for each in theirs):
            raise RelayError(Code.PASSKEY_REFUSED, "this passkey is registered already")
        if len(theirs) >= MAX_PASSKEYS:
            raise RelayError(Code.PASSKEY_REFUSED, f"{user} has {MAX_PASSKEYS} passkeys already")
        passkey = OwnPasskey(new_id(), user, credential, found.text(), name, self.clock())
        await self.store.add_passkey(passkey)
        self.passkeys.put(passkey)
        log.info("passkey_added", user=user, key=found.fingerprint)
        return {"passkey": passkey_view(passkey)}

    async def passkey_list(self, user: str | None = None) -> list[dict[str, Any]]:
        """Return the passkeys of one user or of all, oldest first.

        Who is neither admin nor auditor sees their own.
        """
        own = confined_to()
        if own is not None and user not in (None, own):
            return []
        return [passkey_view(each) for each in self.passkeys.listed(own or user)]

    async def passkey_remove(self, passkey: str) -> dict[str, Any]:
        """Let a passkey sign no more, at once; its identifier may be shortened.

        What it approved and was not used yet can do nothing any more.
        """
        own = None if acts_as_admin() else actor()
        found = [each for each in self.passkeys.listed(own) if each.id.startswith(passkey)]
        if len(passkey) < MIN_PREFIX or len(found) != 1:
            raise RelayError(
                Code.PASSKEY_UNKNOWN, f"{len(found)} passkeys start with this identifier"
            )
        gone = found[0]
        self.passkeys.drop(gone.id)
        stored = await self.keep(RemovePasskey(gone.id))
        log.info("passkey_removed", user=gone.user, passkey=gone.id, by=actor(), **stored)
        return {"passkey": passkey_view(gone), **stored}


def passkey_view(passkey: OwnPasskey) -> dict[str, Any]:
    """Show a passkey as JSON values."""
    return {
        "id": passkey.id,
        "user": passkey.user,
        "name": passkey.name,
        "credential": passkey.credential,
        "key": passkey.key,
        "fingerprint": Passkey.parse(passkey.key).fingerprint,
        "added": passkey.added,
        "last_used": passkey.last_used,
    }


def _read(credential: str, key: str) -> Passkey:
    try:
        good = 0 < len(decode(credential)) <= MAX_CREDENTIAL
        found = Passkey.parse(key)
    except BadKeyError:
        good = False
    if not good:
        raise RelayError(Code.PASSKEY_REFUSED, "this is no passkey")
    return found
