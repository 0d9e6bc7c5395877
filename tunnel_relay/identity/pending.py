"""What waits between two requests of a login: in memory, bounded, short-lived. Pure."""

import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from shared.ids import token_digest
from shared.policy.classes import ToolClass
from tunnel_relay.identity.requests import AuthorizeRequest
from tunnel_relay.store.base import Agent, User

REQUEST_SECONDS = 600.0
"""For a person to log in and consent."""
CODE_SECONDS = 60.0
USED_SECONDS = 600.0
"""How long a used code is remembered, so that a second use is recognised."""
LOGIN_SECONDS = 900.0
"""A browser that is logged in is not asked for a password for so long."""
MAX_HELD = 10_000
MAX_OF_ONE = 500
"""Of these, the most that one source has a place for: a twentieth, so that few fill no table."""

V = TypeVar("V")


class Held(Generic[V]):
    """Values by the digest of a secret, each until its time; at most so many, the oldest go.

    For what can be had again when it is gone; see `Kept` for what cannot.
    """

    def __init__(self, most: int = MAX_HELD) -> None:
        self._most = most
        self._held: OrderedDict[bytes, tuple[V, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def put(self, secret: str, value: V, until: float) -> None:
        """Hold a value; `until` in the seconds of the clock that `get` is given."""
        key = token_digest(secret)
        self._held.pop(key, None)
        self._held[key] = value, until
        if len(self._held) > self._most:
            self._held.popitem(last=False)

    def get(self, secret: str, now: float) -> V | None:
        """Return the value of a secret, None when there is none or its time is over."""
        key = _digest(secret)
        found = None if key is None else self._held.get(key)
        if found is None or key is None:
            return None
        if now >= found[1]:
            del self._held[key]
            return None
        return found[0]


class Kept(Generic[V]):
    """Values by the digest of a secret, each for so many seconds; none goes to make room.

    What is too many, of all or of one source, is refused: whoever floods keeps nobody but
    themselves waiting, until they fill all there is from many sources.
    """

    def __init__(self, seconds: float, most: int = MAX_HELD, of_one: int = MAX_OF_ONE) -> None:
        self._seconds = seconds
        self._most = most
        self._of_one = of_one
        # All have the same time, so that the first are the next to go: (value, source, until).
        self._kept: OrderedDict[bytes, tuple[V, str, float]] = OrderedDict()
        self._of: dict[str, OrderedDict[bytes, None]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, secret: str, value: V, source: str, now: float) -> float:
        """Keep a value for a source; returns 0, or the seconds until there is a place."""
        key = token_digest(secret)
        self._leave(key)
        while self._kept and now >= self._until(first := next(iter(self._kept))):
            self._leave(first)
        mine = self._of.get(source, ())
        if len(mine) >= self._of_one:
            return self._until(next(iter(mine))) - now
        if len(self._kept) >= self._most:
            return self._until(next(iter(self._kept))) - now
        self._kept[key] = value, source, now + self._seconds
        self._of.setdefault(source, OrderedDict())[key] = None
        return 0.0

    def get(self, secret: str, now: float) -> V | None:
        """Return the value of a secret, None when there is none or its time is over."""
        key = _digest(secret)
        found = None if key is None else self._kept.get(key)
        return None if found is None or now >= found[2] else found[0]

    def drop(self, secret: str) -> None:
        """Forget a value; its place is free."""
        self._leave(_digest(secret))

    def _until(self, key: bytes) -> float:
        return self._kept[key][2]

    def _leave(self, key: bytes | None) -> None:
        found = None if key is None else self._kept.pop(key, None)
        if found is None or key is None:
            return
        theirs = self._of[found[1]]
        del theirs[key]
        if not theirs:
            del self._of[found[1]]


def _digest(secret: str) -> bytes | None:
    """Return the digest a secret is known by, None for text that none can be."""
    try:
        return token_digest(secret)
    except UnicodeEncodeError:
        return None


@dataclass(slots=True)
class Waiting:
    """A request for a code that waits for its user, bound to one browser."""

    request: AuthorizeRequest
    agent: Agent
    browser: str = field(repr=False)
    csrf: str = field(repr=False, default_factory=lambda: secrets.token_urlsafe(32))
    login: "Login | None" = None

    @property
    def user(self) -> str | None:
        """Who logged in for it."""
        return None if self.login is None else self.login.user


@dataclass(slots=True)
class Code:
    """What was consented to; `session` is what a first use made of it."""

    request: AuthorizeRequest
    user: str
    expires: float
    classes: tuple[ToolClass, ...] = ()
    """What its tools may do; empty: not narrowed."""
    used: bool = False
    replayed: bool = False
    """It came again, perhaps while the session was still being made."""
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Login:
    """Who a browser is logged in as, and the password's hash by then: a new one ends it.

    So does being disabled, for good: `times_off` is as `Directory` has it.
    """

    user: str
    password: str | None = field(repr=False)
    times_off: int

    def is_of(self, user: User | None, times_off: int) -> bool:
        """Tell whether it still is the login of this user."""
        if user is None or times_off != self.times_off:
            return False
        return (user.key, user.password) == (self.user, self.password)
