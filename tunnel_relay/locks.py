"""The locks in force: in memory, so that they cost a call nothing while there are none. Pure."""

import math
from collections.abc import Iterable

from tunnel_relay.store.base import Lock, LockKind, Session


class LockTable:
    """All locks by what they are about."""

    def __init__(self, locks: Iterable[Lock] = ()) -> None:
        self._by_id: dict[str, Lock] = {}
        self._until: dict[tuple[LockKind, str], float] = {}
        """When the last lock on a subject ends; never is infinity."""
        for lock in locks:
            self.put(lock)

    def __len__(self) -> int:
        return len(self._by_id)

    def put(self, lock: Lock) -> None:
        """Let a lock hold."""
        self._by_id[lock.id] = lock
        self._reckon(lock.kind, lock.subject)

    def drop(self, lock: str) -> None:
        """Lift the lock of this identifier."""
        gone = self._by_id.pop(lock, None)
        if gone is not None:
            self._reckon(gone.kind, gone.subject)

    def all(self) -> list[Lock]:
        """Return every lock, those whose time is over too, oldest first."""
        return list(self._by_id.values())

    def holding(self, now: float) -> list[Lock]:
        """Return the locks that hold at `now`, oldest first."""
        return [lock for lock in self._by_id.values() if now < _end(lock)]

    def locks_session(self, session: Session, now: float) -> bool:
        """Tell whether any lock refuses this session; fast without locks."""
        if not self._until:
            return False
        return any(
            now < self._until.get((kind, subject), -math.inf)
            for kind, subjects in self.subjects(session).items()
            for subject in subjects
        )

    def locks_link(self, tunnel: str, instance: str, now: float) -> bool:
        """Tell whether a client of this tunnel may not connect."""
        ends = self._until.get((LockKind.TUNNEL, tunnel)), self._until.get((LockKind.KEY, instance))
        return any(end is not None and now < end for end in ends)

    @staticmethod
    def subjects(session: Session) -> dict[LockKind, tuple[str, ...]]:
        """Return what locks on a session can be about."""
        return {
            LockKind.USER: (session.user,),
            LockKind.AGENT: (session.agent,),
            LockKind.UPSTREAM: (session.place,),
            LockKind.TUNNEL: (session.tunnel,),
        }

    def _reckon(self, kind: LockKind, subject: str) -> None:
        ends = [
            _end(lock)
            for lock in self._by_id.values()
            if lock.kind is kind and lock.subject == subject
        ]
        if ends:
            self._until[kind, subject] = max(ends)
        else:
            self._until.pop((kind, subject), None)


def _end(lock: Lock) -> float:
    return math.inf if lock.expires is None else lock.expires
