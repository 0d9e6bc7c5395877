"""The relay's own MCP session ids (legacy era): names below a session, never an authentication.

An id says by itself which client instance holds the MCP session, and carries a keyed digest over
the session it belongs to. So the relay keeps no table that could be filled or forgotten, a
restart loses nothing, and an id is worthless to everybody but the session it was made for.
"""

import base64
import binascii
import hashlib
import hmac
import secrets

from pydantic import SecretBytes

_INSTANCE = 16
_RANDOM = 16
_TAG = 16
ID_CHARACTERS = 64


class McpSessions:
    """Makes and checks MCP session ids with one secret key of 32 bytes."""

    def __init__(self, key: SecretBytes) -> None:
        if len(key.get_secret_value()) < 32:
            raise ValueError("the MCP session key is shorter than 32 bytes")
        self._keyed = hmac.new(key.get_secret_value(), b"mcp session\0", hashlib.sha256)

    def mint(self, session: str, place: str, instance: str) -> str:
        """Return a fresh id for a session at `place` (tunnel/upstream), held by `instance`."""
        head = bytes.fromhex(instance) + secrets.token_bytes(_RANDOM)
        return base64.urlsafe_b64encode(head + self._tag(head, session, place)).decode()

    def instance(self, mcp_session: bytes, session: str, place: str) -> str | None:
        """Return the instance that holds the MCP session; None for any id that is not its own."""
        if len(mcp_session) != ID_CHARACTERS:
            return None
        try:
            raw = base64.b64decode(mcp_session, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        head, tag = raw[: _INSTANCE + _RANDOM], raw[_INSTANCE + _RANDOM :]
        if not hmac.compare_digest(tag, self._tag(head, session, place)):
            return None
        return head[:_INSTANCE].hex()

    def _tag(self, head: bytes, session: str, place: str) -> bytes:
        keyed = self._keyed.copy()
        keyed.update(head + f"{session}\0{place}".encode())
        return keyed.digest()[:_TAG]
