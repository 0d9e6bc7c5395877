"""Whose MCP tasks are whose: in memory, so that a verdict costs no wait. Pure.

A task is bound to user, agent and server, not to one session: who logs in again reaches what was
begun before. The session that began it says how long that is remembered.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence

from tunnel_relay.store.base import Session
from tunnel_relay.store.tasks import Task

MAX_OF_OWNER = 1000
"""Tasks remembered of one user, agent and server; the oldest is forgotten first."""

Owner = tuple[str, str, str]


def task_digest(place: str, task: str) -> bytes:
    """Return by what a task of the server at `place` is known; ids are seldom short."""
    return hashlib.sha256(f"{place}\0{task}".encode(errors="surrogatepass")).digest()


def owner_of(session: Session) -> Owner:
    """Return whom the tasks belong to that a session begins."""
    return session.user, session.agent, session.place


class TaskTable:
    """All tasks by digest, and what of them the store does not have yet."""

    def __init__(self, most: int = MAX_OF_OWNER) -> None:
        self._most = most
        self._tasks: dict[bytes, tuple[Owner, Task]] = {}
        # Of each owner, oldest first.
        self._owned: dict[Owner, dict[bytes, None]] = {}
        self._new: dict[bytes, Task] = {}
        self._gone: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def put(self, task: Task, session: Session) -> None:
        """Add a task that the store has."""
        self._gone.discard(task.digest)
        self._add(task, session)

    def begin(self, session: Session, task: str, now: float) -> None:
        """Bind a task to the session whose call began it.

        A server that gives an id out again takes it from whoever had it: only it knows which tasks
        it has.
        """
        made = Task(task_digest(session.place, task), session.id, now)
        self._add(made, session)
        self._new[made.digest] = made

    def _add(self, task: Task, session: Session) -> None:
        before, owner = self._tasks.get(task.digest), owner_of(session)
        if before is not None:
            self._unlink(task.digest, before[0])
        self._tasks[task.digest] = owner, task
        mine = self._owned.setdefault(owner, {})
        mine[task.digest] = None
        if len(mine) > self._most:
            self._forget(next(iter(mine)))

    def _unlink(self, digest: bytes, owner: Owner) -> None:
        mine = self._owned[owner]
        del mine[digest]
        if not mine:
            del self._owned[owner]

    def _forget(self, digest: bytes) -> None:
        owner, _ = self._tasks.pop(digest)
        self._unlink(digest, owner)
        self._new.pop(digest, None)
        self._gone.add(digest)

    def owns(self, session: Session, task: str) -> bool:
        """Tell whether a task is one of the session's user, agent and server."""
        found = self._tasks.get(task_digest(session.place, task))
        return found is not None and found[0] == owner_of(session)

    def digests(self) -> Sequence[bytes]:
        """Return what all tasks are known by."""
        return list(self._tasks)

    def drop_orphans(self, digests: Iterable[bytes], lives: Callable[[str], bool]) -> None:
        """Forget those of these tasks whose session is not kept; the store forgot them too."""
        for digest in digests:
            found = self._tasks.get(digest)
            if found is not None and not lives(found[1].session):
                self._forget(digest)

    def unstored(self) -> tuple[list[Task], list[bytes]]:
        """Return the tasks that the store has to learn, and the digests it has to forget."""
        return list(self._new.values()), list(self._gone)

    def mark_stored(self, tasks: Iterable[Task], gone: Iterable[bytes]) -> None:
        """Note that the store has these and not those."""
        for task in tasks:
            if self._new.get(task.digest) is task:
                del self._new[task.digest]
        self._gone.difference_update(gone)
