"""The sessions a request is held against: in memory, so that a verdict costs no wait.

Pure but for the `now` that is passed in. Kept true by whoever creates and revokes: the change is
made here first when it takes away, and last when it gives.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import StrEnum

from shared.ids import token_digest
from tunnel_relay.locks import LockTable
from tunnel_relay.store.base import Session


class Refusal(StrEnum):
    """Why a token opens nothing; for the audit and the log, never for the caller."""

    UNKNOWN = "unknown"
    EXPIRED = "expired"
    IDLE = "idle"
    REVOKED = "revoked"
    LOCKED = "locked"
    """By a lock on its user, agent, upstream or tunnel."""
    DISABLED = "disabled"
    """Its tunnel is switched off."""


class _Entry:
    __slots__ = ("dead", "expires", "idle", "last_used", "session", "stored")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.expires = session.expires
        self.idle = session.idle
        self.last_used = session.last_used
        self.stored = session.last_used
        # Set once and never cleared, so that a use at the same instant cannot undo it.
        self.dead = session.revoked is not None

    def current(self) -> Session:
        return replace(self.session, last_used=self.last_used)


class SessionTable:
    """All sessions by the digest of their token.

    Time never runs backwards here: the latest `now` seen is a high-water mark, so that setting
    the clock back revives nothing.
    """

    def __init__(self, sessions: Iterable[Session] = ()) -> None:
        self.locks = LockTable()
        self._by_digest: dict[bytes, _Entry] = {}
        self._by_id: dict[str, _Entry] = {}
        self._blocked: frozenset[str] = frozenset()
        self._mark = -math.inf
        for session in sessions:
            self.put(session)

    def put(self, session: Session) -> None:
        """Add a session, or replace it; one that was revoked stays revoked."""
        before = self._by_id.get(session.id)
        if before is not None and before.dead:
            return
        entry = _Entry(session)
        self._by_id[session.id] = self._by_digest[session.digest] = entry

    def find(self, token: str, now: float) -> Session | None:
        """Return the live session of `token` and count this as a use; None when there is none.

        `last_used` of what is returned is that of the store; `all()` has the newest.
        """
        try:
            entry = self._by_digest.get(token_digest(token))
        except UnicodeEncodeError:
            return None
        return None if entry is None else self._use(entry, now)

    def again(self, session: Session, now: float) -> Session | None:
        """Return a session found before if it still lives, as `find` does but for the look-up."""
        entry = self._by_id.get(session.id)
        return None if entry is None else self._use(entry, now)

    def _use(self, entry: _Entry, now: float) -> Session | None:
        if entry.dead or entry.session.tunnel in self._blocked:
            return None
        if now > self._mark:
            self._mark = now
        else:
            now = self._mark
        if now >= entry.expires or now >= entry.last_used + entry.idle:
            return None
        if self.locks.locks_session(entry.session, now):
            return None
        entry.last_used = now
        return entry.session

    def why(self, token: str, now: float) -> Refusal | None:
        """Return why `find` refuses this token, None when it would not; counts as no use."""
        try:
            entry = self._by_digest.get(token_digest(token))
        except UnicodeEncodeError:
            entry = None
        return Refusal.UNKNOWN if entry is None else self._refusal(entry, now)

    def state(self, session: str, now: float) -> Refusal | None:
        """Return what ended the session of this identifier, None while it lives."""
        entry = self._by_id.get(session)
        return Refusal.UNKNOWN if entry is None else self._refusal(entry, now)

    def get(self, session: str) -> Session | None:
        """Return a session by its identifier, ended or not."""
        entry = self._by_id.get(session)
        return entry.current() if entry else None

    def revoke(self, session: str, now: float, reason: str) -> Session | None:
        """End a session for good; returns it, None when unknown. The first reason stays."""
        entry = self._by_id.get(session)
        if entry is None:
            return None
        if not entry.dead:
            entry.dead = True
            entry.session = replace(entry.session, revoked=now, reason=reason)
        return entry.current()

    def block(self, tunnels: Iterable[str]) -> None:
        """Refuse the sessions of exactly these tunnels from now on."""
        self._blocked = frozenset(tunnels)

    def drop_tunnel(self, tunnel: str) -> list[Session]:
        """Forget every session of a tunnel; returns them."""
        gone = [entry for entry in self._by_id.values() if entry.session.tunnel == tunnel]
        for entry in gone:
            entry.dead = True
            del self._by_id[entry.session.id], self._by_digest[entry.session.digest]
        return [entry.session for entry in gone]

    def all(self) -> list[Session]:
        """Return every session with its newest last use, oldest first."""
        return [entry.current() for entry in self._by_id.values()]

    def dirty(self) -> dict[str, float]:
        """Return the sessions used since `mark_stored`: identifier -> last use."""
        return {
            session: entry.last_used
            for session, entry in self._by_id.items()
            if entry.last_used > entry.stored
        }

    def mark_stored(self, last_used: Mapping[str, float]) -> None:
        """Note that these last uses are in the store now."""
        for session, at in last_used.items():
            entry = self._by_id.get(session)
            if entry is not None:
                entry.stored = at

    def _refusal(self, entry: _Entry, now: float) -> Refusal | None:
        now = max(now, self._mark)
        if entry.dead:
            return Refusal.REVOKED
        if now >= entry.expires:
            return Refusal.EXPIRED
        if entry.session.tunnel in self._blocked:
            return Refusal.DISABLED
        if self.locks.locks_session(entry.session, now):
            return Refusal.LOCKED
        return Refusal.IDLE if now >= entry.last_used + entry.idle else None
