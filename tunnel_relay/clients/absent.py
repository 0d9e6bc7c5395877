"""Clients that have no link: since when, for how long one may go on, and whether it comes back."""

import time
from collections.abc import Callable, Iterator

from shared.errors import CloseCode

AWAY_SECONDS = 60.0
"""So long a client may be without a link before its MCP sessions are held for over where another
client serves: one that lives dials at least every 30 s, and an attempt takes 10 s at most."""
MOST_STOPPED = 10_000
"""Clients that stopped and are remembered; of those before them only their absence counts."""
GOODBYE = CloseCode.GOING_AWAY
"""What the links of a client that stops are closed with: nothing of its process is left."""

Client = tuple[str, str]
"""A tunnel, and an instance of it."""


def is_gone(*, may_connect: bool, stopped: bool, away: float, others: bool) -> bool:
    """Tell whether MCP sessions are over that belong to a client without a connection.

    `stopped`: it said so; `away`: for how many seconds it has had no link, 0 while one may be
    resumed; `others`: another client serves, so that an agent that begins anew gets an answer.
    """
    return not may_connect or stopped or (others and away >= AWAY_SECONDS)


class Absent:
    """When clients lost their last link, for as long as anybody asks; `lease` is in seconds.

    Times are monotonic. Who is not known has had no link since the relay began, or for longer than
    is kept.
    """

    def __init__(self, lease: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease = lease
        self._kept = max(lease, AWAY_SECONDS)
        self._began = clock()
        self._lost: dict[Client, float] = {}
        self._stopped: dict[Client, None] = {}

    def closed(self, client: Client, code: int) -> None:
        """A link of a client ended; the others of one that stops are about to."""
        if code == GOODBYE:
            self._stopped[client] = None
            if len(self._stopped) > MOST_STOPPED:
                del self._stopped[next(iter(self._stopped))]

    def lost(self, client: Client, now: float) -> None:
        """The last link of a client ended."""
        for known, lost in list(self._lost.items()):  # oldest first
            if now - lost < self._kept:
                break
            del self._lost[known]
        self._lost[client] = now

    def back(self, client: Client) -> None:
        """A client has a link."""
        self._lost.pop(client, None)
        self._stopped.pop(client, None)

    def stopped(self, client: Client) -> bool:
        """Tell whether a client said that it stops, and was not heard since."""
        return client in self._stopped

    def away(self, client: Client, now: float) -> float:
        """Return for how many seconds a client without a link has had none, at least."""
        return now - self._lost.get(client, self._began)

    def leases(self, now: float) -> Iterator[tuple[Client, float]]:
        """Yield the clients whose lease still runs, and for how many seconds it does."""
        for client, lost in self._lost.items():
            if (left := self._lease - (now - lost)) > 0:
                yield client, left
