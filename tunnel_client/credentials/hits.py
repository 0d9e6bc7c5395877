"""Counts secrets that were found in answers, and says so without flooding the log."""

from collections.abc import Callable

import structlog

from shared.audit import events

log = structlog.get_logger("tunnel_client.credentials")

LOG_EVERY = 60.0
ALARM_HITS = 10
ALARM_WITHIN = 600.0
LOCK_HITS = 100
"""So many in one session's answers lock it out: watching what is masked is a way of guessing."""
MAX_SESSIONS = 4096


class Hits:
    """One upstream's count; `now` in seconds of a clock that never goes back."""

    def __init__(self, upstream: str, now: Callable[[], float]) -> None:
        self._upstream = upstream
        self._log = log.bind(upstream=upstream)
        self._now = now
        self._logged: float | None = None
        self._unsaid = 0
        self._window = 0.0
        self._in_window = 0
        self._sessions: dict[str, int] = {}
        self.locked: set[str] = set()
        """Sessions that are not served before the window ends."""
        self.count = 0
        self.alarm = False

    def locks_out(self, session: str) -> bool:
        """Tell whether a session was shown so many masks that it gets no further answer for now."""
        if self.locked and self._now() >= self._window:
            self._begin(self._now())
        return session in self.locked

    def _begin(self, now: float) -> None:
        self._window, self._in_window, self.alarm = now + ALARM_WITHIN, 0, False
        self._sessions.clear()
        self.locked.clear()

    def _count(self, session: str, count: int) -> None:
        if len(self._sessions) >= MAX_SESSIONS:
            self._sessions.clear()
        self._sessions[session] = found = self._sessions.get(session, 0) + count
        if found >= LOCK_HITS and session not in self.locked:
            self.locked.add(session)
            events.note("credential.locked", upstream=self._upstream, session=session)
            self._log.error(
                "ALARM: a session is locked out: its answers keep holding the credential",
                session=session[:8],
                until_seconds=round(self._window - self._now()),
            )

    def add(self, count: int, session: str | None = None) -> None:
        """Note hits of one answer: a line a minute, and an alarm when they do not end."""
        now = self._now()
        events.note("credential.echo", upstream=self._upstream, scrub_hits=count)
        self.count += count
        self._unsaid += count
        if now >= self._window:
            self._begin(now)
        self._in_window += count
        if session is not None:
            self._count(session, count)
        if self._logged is None or now - self._logged >= LOG_EVERY:
            self._log.warning("a credential was taken out of an answer", scrub_hits=self._unsaid)
            self._logged, self._unsaid = now, 0
        if self._in_window >= ALARM_HITS and not self.alarm:
            self.alarm = True
            self._log.error(
                "ALARM: this upstream keeps showing the credential it was given",
                scrub_hits=self._in_window,
                within_seconds=ALARM_WITHIN,
            )
