"""The locks in force: in memory, so that they cost a call nothing while there are none. Pure."""

import math
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter

from tunnel_relay.store.base import Lock, LockKind, Session

SUBJECTS: Mapping[LockKind, Callable[[Session], str]] = {
    LockKind.USER: attrgetter("user"),
    LockKind.AGENT: attrgetter("agent"),
    LockKind.UPSTREAM: attrgetter("place"),
    LockKind.TUNNEL: attrgetter("tunnel"),
}
"""What a lock on a session can be about."""


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
        subject = lock.kind, lock.subject
        self._until[subject] = max(_end(lock), self._until.get(subject, -math.inf))

    def drop(self, lock: str) -> None:
        """Lift the lock of this identifier."""
        gone = self._by_id.pop(lock, None)
        if gone is None:
            return
        subject = gone.kind, gone.subject
        ends = [_end(one) for one in self._by_id.values() if (one.kind, one.subject) == subject]
        if ends:
            self._until[subject] = max(ends)
        else:
            del self._until[subject]

    def __contains__(self, lock: str) -> bool:
        """Tell whether the lock of this identifier was not lifted."""
        return lock in self._by_id

    def all(self) -> list[Lock]:
        """Return every lock, those whose time is over too, oldest first."""
        return list(self._by_id.values())

    def holding(self, now: float) -> list[Lock]:
        """Return the locks that hold at `now`, oldest first."""
        return [lock for lock in self._by_id.values() if now < _end(lock)]

    def holds(self, kind: LockKind, subject: str, now: float) -> bool:
        """Tell whether a subject is locked."""
        return now < self._until.get((kind, subject), -math.inf)

    def locks_session(self, session: Session, now: float) -> bool:
        """Tell whether any lock refuses this session; fast without locks."""
        if not self._until:
            return False
        return any(
            now < self._until.get((kind, subject_of(session)), -math.inf)
            for kind, subject_of in SUBJECTS.items()
        )

    def locks_link(self, tunnel: str, instance: str, now: float) -> bool:
        """Tell whether a client of this tunnel may not connect."""
        ends = self._until.get((LockKind.TUNNEL, tunnel)), self._until.get((LockKind.KEY, instance))
        return any(end is not None and now < end for end in ends)


def _end(lock: Lock) -> float:
    return math.inf if lock.expires is None else lock.expires
