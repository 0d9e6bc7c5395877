"""Passwords of local accounts: argon2id, slow on purpose, off the event loop."""

import anyio
import anyio.to_thread
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from pydantic import SecretStr

MIN_LENGTH = 10
MAX_LENGTH = 1024
AT_ONCE = 2
"""Hashes computed at a time: each takes a core for some 30 ms and 19 MiB."""

_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_NOBODY = (
    "$argon2id$v=19$m=19456,t=2,p=1$rUdGGX/3HBjrrNPSchsZMQ$"
    "SYp5Dc4l8zAaquicjBjKgev+494P9N+M5fxQe+/+SxE"
)
"""Of a random password that nobody kept: verified where there is no account. Written out, since
making it takes as long as a start can spare; a test holds it to the costs above."""


class Passwords:
    """Hashes and verifies; one instance a process, made inside its event loop."""

    def __init__(self) -> None:
        self._limiter = anyio.CapacityLimiter(AT_ONCE)

    async def hash(self, password: SecretStr) -> str:
        """Return what to store of a password."""
        text = password.get_secret_value()
        return await anyio.to_thread.run_sync(_HASHER.hash, text, limiter=self._limiter)

    async def verify(self, stored: str | None, password: SecretStr) -> bool:
        """Tell whether a password is right; takes as long where there is no account."""
        return await anyio.to_thread.run_sync(_verify, stored, password, limiter=self._limiter)


def acceptable(password: SecretStr) -> bool:
    """Tell whether a password is long enough; length is what counts (NIST SP 800-63B)."""
    return MIN_LENGTH <= len(password.get_secret_value()) <= MAX_LENGTH


def _verify(stored: str | None, password: SecretStr) -> bool:
    text = password.get_secret_value()
    try:
        # One that is too long takes as long too: no attempt is cheaper than others.
        right = _HASHER.verify(_NOBODY if stored is None else stored, text[:MAX_LENGTH])
    except (VerificationError, InvalidHashError):
        return False
    return right and stored is not None and len(text) <= MAX_LENGTH
