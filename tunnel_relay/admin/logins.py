"""Who is logged in to the console: in memory, so that a restart ends every login. Pure."""

import math
import secrets
from collections import OrderedDict
from hmac import compare_digest

from shared.ids import token_digest
from tunnel_relay.store.base import User

COOKIE = "__Host-mcp-console"
"""The prefix makes browsers insist on Secure, no Domain and Path=/; loopback counts as secure."""
IDLE = 30 * 60.0
ABSOLUTE = 8 * 3600.0
MOST = 1000
MOST_OF_ONE = 20
FRESH = 5 * 60.0
"""Seconds for which somebody who showed a password may decide without showing it again."""


class Login:
    """One browser's login."""

    __slots__ = ("csrf", "password", "proved", "results", "since", "times_off", "used", "user")

    def __init__(self, user: User, now: float, times_off: int, proved: float) -> None:
        self.user = user.key
        self.password = user.password
        """The hash as it was: with another password the login ends."""
        self.times_off = times_off
        """As `Directory` has it: once more, and the login ends."""
        self.csrf = secrets.token_urlsafe(32)
        self.since = self.used = now
        self.proved = proved
        """When the user proved who they are; a provider may have let them in without."""
        self.results: list[tuple[str, str]] = []
        """What the next page tells: kind and text."""

    def is_fresh(self, now: float) -> bool:
        """Tell whether the user proved who they are lately."""
        return now < self.proved + FRESH

    def is_from_our_page(self, token: str) -> bool:
        """Tell whether a form or script shows this login's token."""
        return compare_digest(token.encode(), self.csrf.encode())


class Logins:
    """All logins by the digest of their cookie; the one unused longest goes when there are many.

    The latest `now` seen is a high-water mark: setting the clock back revives nothing.
    """

    def __init__(self) -> None:
        self._by_digest: OrderedDict[bytes, Login] = OrderedDict()
        self._mark = -math.inf

    def __len__(self) -> int:
        return len(self._by_digest)

    def open(
        self, user: User, now: float, times_off: int = 0, *, proved: float = math.inf
    ) -> tuple[str, Login]:
        """Log a user in who `proved` now, or earlier, who they are.

        Returns the text of the cookie, always a fresh one.
        """
        cookie, now = secrets.token_urlsafe(32), max(now, self._mark)
        login = Login(user, now, times_off, min(now, proved))
        theirs = [key for key, each in self._by_digest.items() if each.user == user.key]
        for key in theirs[: max(0, len(theirs) - MOST_OF_ONE + 1)]:
            del self._by_digest[key]
        if len(self._by_digest) >= MOST:
            self._by_digest.popitem(last=False)
        self._by_digest[token_digest(cookie)] = login
        return cookie, login

    def find(self, cookie: str, now: float, *, use: bool = True) -> Login | None:
        """Return a login that is not over; a page that refreshes itself is no `use` of it."""
        self._mark = now = max(now, self._mark)
        digest = token_digest(cookie)
        login = self._by_digest.get(digest)
        if login is None:
            return None
        if now >= login.since + ABSOLUTE or now >= login.used + IDLE:
            del self._by_digest[digest]
            return None
        if use:
            login.used = now
            self._by_digest.move_to_end(digest)
        return login

    def close(self, cookie: str) -> None:
        """Log out."""
        self._by_digest.pop(token_digest(cookie), None)
