"""How much one session, and one user with all their sessions, may ask for. Pure; `now` in seconds.

A token bucket each, looked at before a request's body is read, and a count of calls under way.
Nobody's use takes anything from anybody else's.
"""

from dataclasses import dataclass

from tunnel_relay.store.base import Session

BURST = 2.0
"""Seconds of the allowed rate that may come at once."""
MAX_METERS = 200_000


@dataclass(frozen=True, slots=True)
class Quota:
    """What one subject may do; 0 is no bound."""

    calls_per_second: float = 0.0
    streams: int = 0


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
        wait = _take(self._sessions, session.id, self._session, now)
        if not wait:
            wait = _take(self._users, session.user, self._user, now)
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
        for meters in (self._sessions, self._users):
            idle = [
                key for key, meter in meters.items() if not meter.streams and now - meter.at > BURST
            ]
            for key in idle:
                del meters[key]


def _meter(meters: dict[str, Meter], key: str, quota: Quota, now: float) -> Meter:
    meter = meters.get(key)
    if meter is None:
        meter = meters[key] = Meter(quota.calls_per_second * BURST, now)
    return meter


def _take(meters: dict[str, Meter], key: str, quota: Quota, now: float) -> float:
    rate = quota.calls_per_second
    if not rate:
        return 0.0
    meter = _meter(meters, key, quota, now)
    level = meter.level + (now - meter.at) * rate
    most = rate * BURST
    if level > most:
        level = most
    meter.at = now
    if level < 1:
        meter.level = level
        return (1 - level) / rate
    meter.level = level - 1
    return 0.0
