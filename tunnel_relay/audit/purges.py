"""Who wants old records removed, until somebody else says so too; in memory, pure.

A restart forgets it, which costs asking again and removes nothing.
"""

from dataclasses import dataclass

WAIT_SECONDS = 3600.0
"""How long a second person has."""
MAX_WAITING = 16


@dataclass(frozen=True, slots=True)
class Purge:
    """One person's wish. Times in seconds since 1970."""

    id: str
    before: float
    by: str
    reason: str
    asked: float

    @property
    def until(self) -> float:
        """When it is too late to agree."""
        return self.asked + WAIT_SECONDS


class Purges:
    """What waits for a second person."""

    def __init__(self) -> None:
        self._waiting: dict[str, Purge] = {}

    def add(self, purge: Purge) -> bool:
        """Let it wait; False when too many do."""
        self.listed(purge.asked)
        if len(self._waiting) >= MAX_WAITING:
            return False
        self._waiting[purge.id] = purge
        return True

    def listed(self, now: float) -> list[Purge]:
        """Return what waits, the oldest first; what nobody agreed to in time is forgotten."""
        self._waiting = {
            each.id: each for each in self._waiting.values() if each.asked <= now < each.until
        }
        return sorted(self._waiting.values(), key=lambda each: each.asked)

    def find(self, begins: str, now: float) -> Purge | None:
        """Return the one whose id begins so, None when there is none or more than one."""
        found = [each for each in self.listed(now) if begins and each.id.startswith(begins)]
        return found[0] if len(found) == 1 else None

    def take(self, purge: Purge) -> bool:
        """Have it wait no more; False when somebody else was faster."""
        return self._waiting.pop(purge.id, None) is not None

    def put_back(self, purge: Purge) -> None:
        """Have one that was taken wait on, until its own time is over: nothing came of it."""
        self._waiting[purge.id] = purge
