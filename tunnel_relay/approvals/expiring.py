"""Which approvals ended by time since somebody looked last: each is told once. Pure."""

import heapq
from collections.abc import Callable

from tunnel_relay.approvals.decide import state_of
from tunnel_relay.store.approvals import Approval, State

MOST = 256
"""Told in one look: the rest waits for the next."""


class Expiring:
    """Approvals by when they end; `get` returns one as it is now."""

    def __init__(self, get: Callable[[str], Approval | None]) -> None:
        self._get = get
        self._due: list[tuple[float, str]] = []

    def watch(self, approval: Approval) -> None:
        """Have it told when its time is over, unless it is settled by then."""
        heapq.heappush(self._due, (approval.expires, approval.id))

    def over(self, now: float) -> list[Approval]:
        """Return those whose time is over and that nobody denied or used."""
        found: list[Approval] = []
        while self._due and self._due[0][0] <= now and len(found) < MOST:
            known = self._get(heapq.heappop(self._due)[1])
            if known is None or known.state is State.EXPIRED:
                continue  # it was told when it was replaced
            if state_of(known, now) is State.EXPIRED:
                found.append(known)
        return found
