"""Keeps one value of a credential fresh: fetched once for all who wait, renewed before it ends."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import anyio
import structlog
from pydantic import SecretStr

from shared.backoff import Backoff
from tunnel_client.credentials.inject import (
    UnusableSecretError,
    check_strength,
    headers_for,
    same,
    scrubber_for,
)
from tunnel_client.credentials.scrub import Scrubber
from tunnel_client.credentials.settings import CredentialSettings
from tunnel_client.errors import ClientError
from tunnel_client.upstream.base import Headers

log = structlog.get_logger("tunnel_client.credentials")

FETCH_SECONDS = 30.0
MAX_WAITING = 256
MAX_USERS = 1024
_AHEAD = 0.8
"""Of a value's life after which it is renewed, while the old one still serves."""
_REFUSED_AGAIN = 5.0
"""Seconds: an upstream that refuses a value younger than this would refuse the next one too."""

Fetched = tuple[SecretStr, float | None]
"""A secret and the seconds it is good for; None: until the upstream refuses it."""


class Held(NamedTuple):
    """What requests get now."""

    headers: Headers
    scrubber: Scrubber | None
    since: float
    renew: float | None
    ends: float | None

    def __repr__(self) -> str:
        return "Held()"


class Keeper:
    """One value for one user or for all; `fetch` raises ClientError. Seconds of `now`."""

    def __init__(
        self,
        name: str,
        settings: CredentialSettings,
        fetch: Callable[[], Awaitable[Fetched]],
        now: Callable[[], float],
    ) -> None:
        self._log = log.bind(upstream=name)
        self._settings = settings
        self._fetch = fetch
        self._now = now
        self._secrets: deque[SecretStr] = deque(maxlen=2)
        self._waiting: deque[Callable[[bool], None]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._backoff = Backoff()
        self._failures = 0
        self._not_before = 0.0
        self._held: Held | None = None
        self.problem: str | None = None
        """Why the last attempt failed, for operators."""

    @property
    def busy(self) -> bool:
        """Tell whether somebody waits or a value is being fetched."""
        return self._task is not None

    @property
    def scrubber(self) -> Scrubber | None:
        """What finds the value in answers, the one before it included."""
        return None if self._held is None else self._held.scrubber

    def current(self) -> Held | None:
        """Return what may be used now, None when it has to be waited for."""
        held = self._held
        if held is None or held.renew is None:
            return held
        now = self._now()
        if now < held.renew:
            return held
        if self._task is None and now >= self._not_before:
            self._begin()
        return None if held.ends is not None and now >= held.ends else held

    def wait(self, ready: Callable[[bool], None]) -> bool:
        """Have `ready` called with whether there is a value; False when too many wait already."""
        if len(self._waiting) >= MAX_WAITING:
            return False
        if self._task is None and self._now() < self._not_before:
            return False  # it failed a moment ago
        self._waiting.append(ready)
        if self._task is None:
            self._begin()
        return True

    def leave(self, ready: Callable[[bool], None]) -> None:
        """Wait no more."""
        if ready in self._waiting:
            self._waiting.remove(ready)

    def preset(self, secret: SecretStr) -> None:
        """Begin with a value that was at hand; raises UnusableSecretError."""
        self._held = self._made(secret, None)

    def renew(self) -> None:
        """Fetch the value anew; until there is another one, this one serves."""
        if self._task is None:
            self._begin()

    def refused(self) -> None:
        """Note that the upstream did not take the value: the next call gets a new one."""
        held = self._held
        if held is not None and self._now() - held.since >= _REFUSED_AGAIN:
            self._held = held._replace(renew=0.0, ends=0.0)

    async def aclose(self) -> None:
        """Stop fetching; who waits is told that there is nothing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._settle(False)  # a task that was cancelled before it began says nothing

    def _begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        good = False
        try:
            with anyio.fail_after(FETCH_SECONDS):
                secret, seconds = await self._fetch()
                self._held = await asyncio.to_thread(self._made, secret, seconds)
            good = True
        except TimeoutError:
            self._failed("it takes too long")
        except (ClientError, UnusableSecretError) as error:
            self._failed(error.cause if isinstance(error, ClientError) else str(error))
        except Exception as error:  # noqa: BLE001 - its text may hold what was fetched
            self._failed(type(error).__name__)
        finally:
            if good:
                self._failures, self._not_before, self.problem = 0, 0.0, None
            self._settle(good)

    def _settle(self, good: bool) -> None:
        self._task = None
        waiting, self._waiting = self._waiting, deque()
        for ready in waiting:
            ready(good)

    def _failed(self, why: str) -> None:
        wait = self._backoff.ceiling(self._failures)
        self._failures += 1
        self._not_before = self._now() + wait
        self.problem = why
        self._log.error("no credential", reason=why, again_in=wait)

    def _made(self, secret: SecretStr, seconds: float | None) -> Held:
        headers = headers_for(self._settings, secret)
        scrubber = None
        if self._settings.scrub:
            check_strength(secret)
            known = any(same(secret, each) for each in self._secrets)
            scrubber = self._held.scrubber if known and self._held is not None else None
            if not known:
                self._secrets.append(secret)
            # The value before may still be in answers that are under way, or in a server's log.
            scrubber = scrubber or scrubber_for(self._secrets)
        now = self._now()
        renew = None if seconds is None else now + seconds * _AHEAD
        return Held(headers, scrubber, now, renew, None if seconds is None else now + seconds)


class Keepers:
    """The keepers of one credential: one for all users, or one for each, a bounded number.

    `make` raises ValueError for a user that can have none. `None` is the key of all users.
    """

    def __init__(self, per_user: bool, make: Callable[[str | None], Keeper]) -> None:
        self.per_user = per_user
        self._make = make
        self._keepers: OrderedDict[str | None, Keeper] = OrderedDict()

    def find(self, user: str | None) -> Keeper | None:
        """Return the keeper of a user; None when that user has, or can have, no credential."""
        key = user if self.per_user else None
        keeper = self._keepers.get(key)
        if keeper is not None:
            if self.per_user:
                self._keepers.move_to_end(key)
            return keeper
        if self.per_user and not user:
            return None
        try:
            keeper = self._make(key)
        except ValueError:
            return None
        if len(self._keepers) >= MAX_USERS and not self._make_room():
            return None
        self._keepers[key] = keeper
        return keeper

    def all(self) -> list[Keeper]:
        """Return those in use."""
        return list(self._keepers.values())

    def _make_room(self) -> bool:
        idle = next((key for key, keeper in self._keepers.items() if not keeper.busy), None)
        if idle is None:
            return False
        del self._keepers[idle]
        return True

    async def aclose(self) -> None:
        """Stop all fetching."""
        await asyncio.gather(*(keeper.aclose() for keeper in self.all()))
