"""How much one session, and one user with all their sessions, may ask for. Pure; `now` in seconds.

A token bucket each, looked at before a request's body is read, and a count of calls under way.
Nobody's use takes anything from anybody else's.
"""

from dataclasses import dataclass

from tunnel_relay.store.base import Session

BURST = 2.0
"""Seconds of the allowed rate that may come at once; one call always may."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What one subject may do; 0 is no bound."""

    calls_per_second: float = 0.0
    streams: int = 0

    @property
    def burst(self) -> float:
        """How many calls may come at once."""
        return max(1.0, self.calls_per_second * BURST)

    @property
    def recovery(self) -> float:
        """Seconds after which nothing that was counted matters any more."""
        return self.burst / self.calls_per_second if self.calls_per_second else BURST


class Meter:
    """What one subject did."""

    __slots__ = ("at", "level", "streams")

    def __init__(self, level: float, now: float) -> None:
        self.level = level
        self.at = now
        self.streams = 0


class Quotas:
    """Meters of all sessions and users that asked for something lately."""

    def __init__(self, session: Quota, user: Quota) -> None:
        self._session = session
        self._user = user
        self._sessions: dict[str, Meter] = {}
        self._users: dict[str, Meter] = {}
        self._rated = bool(session.calls_per_second or user.calls_per_second)

    def take(self, session: Session, now: float) -> float:
        """Count a call; returns 0 when it may come, else the seconds to wait."""
        if not self._rated:
            return 0.0
        mine = theirs = None
        wait = 0.0
        if self._session.calls_per_second:
            mine = _filled(self._sessions, session.id, self._session, now)
            wait = _wait(mine, self._session)
        if self._user.calls_per_second:
            theirs = _filled(self._users, session.user, self._user, now)
            wait = max(wait, _wait(theirs, self._user))
        if not wait:
            # Only what may come is counted: a refusal by one bound costs nothing of the other.
            if mine is not None:
                mine.level -= 1
            if theirs is not None:
                theirs.level -= 1
        return wait

    def begin(self, session: Session, now: float) -> bool:
        """Count a call that goes on its way; False when too many are, and nothing is counted."""
        mine = _meter(self._sessions, session.id, self._session, now)
        theirs = _meter(self._users, session.user, self._user, now)
        if 0 < self._session.streams <= mine.streams or 0 < self._user.streams <= theirs.streams:
            return False
        mine.streams += 1
        theirs.streams += 1
        return True

    def end(self, session: Session) -> None:
        """Count a call that is over."""
        for meters, key in ((self._sessions, session.id), (self._users, session.user)):
            meter = meters.get(key)
            if meter is not None and meter.streams > 0:
                meter.streams -= 1

    def forget(self, now: float) -> None:
        """Let go of meters that say nothing: idle, and full again."""
        for meters, quota in ((self._sessions, self._session), (self._users, self._user)):
            before = now - quota.recovery
            idle = [key for key, meter in meters.items() if not meter.streams and meter.at < before]
            for key in idle:
                del meters[key]


class Waiting:
    """Counts what waits: so many of all, and of one user or address."""

    def __init__(self, most: int, of_one: int) -> None:
        self._most = most
        self._of_one = of_one
        self.total = 0
        self.each: dict[str, int] = {}

    def begin(self, who: str) -> bool:
        """Count one that waits from now on; False when too many do, and nothing is counted."""
        mine = self.each.get(who, 0)
        if self.total >= self._most or mine >= self._of_one:
            return False
        self.total += 1
        self.each[who] = mine + 1
        return True

    def end(self, who: str) -> None:
        """Count one that waits no longer."""
        self.total -= 1
        self.each[who] -= 1
        if not self.each[who]:
            del self.each[who]


def _meter(meters: dict[str, Meter], key: str, quota: Quota, now: float) -> Meter:
    meter = meters.get(key)
    if meter is None:
        meter = meters[key] = Meter(quota.burst, now)
    return meter


def _filled(meters: dict[str, Meter], key: str, quota: Quota, now: float) -> Meter:
    meter = _meter(meters, key, quota, now)
    if now > meter.at:
        level = meter.level + (now - meter.at) * quota.calls_per_second
        most = quota.burst
        meter.level = level if level < most else most
        meter.at = now
    return meter


def _wait(meter: Meter, quota: Quota) -> float:
    return 0.0 if meter.level >= 1 else (1 - meter.level) / quota.calls_per_second
