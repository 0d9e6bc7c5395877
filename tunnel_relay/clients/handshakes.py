"""Who shakes hands with the relay, and whose place a newcomer may take when all are taken."""

from collections.abc import Iterator, Mapping
from random import SystemRandom

import anyio

from shared.link.inbox import Inbox
from shared.link.websocket import ServerWebSocket

PATIENCE = 2.0
"""So many seconds the relay waits for a peer's next message before another may have its place.

Long enough that no turn of a busy loop, which reads late what came early, looks like silence.
"""
CHANCE = 0.25
"""How likely a newcomer may have the place of a peer that was not silent for so long."""

_dice = SystemRandom()


class Handshakes:
    """Those under way, at most so many.

    Anybody can begin a handshake and say no more, or just enough: that must keep no client out.
    And clients that come back together must not push each other out before any of them is done.
    So whoever is silent goes for sure, and another only now and then, whichever it is.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._each: dict[ServerWebSocket, Inbox] = {}

    def __len__(self) -> int:
        return len(self._each)

    def begin(self, socket: ServerWebSocket, inbox: Inbox) -> None:
        """Count one more."""
        self._each[socket] = inbox

    def end(self, socket: ServerWebSocket) -> None:
        """Count it no more."""
        self._each.pop(socket, None)

    def make_room(self) -> ServerWebSocket | None:
        """Take out the one whose place a newcomer may have, None when nobody has to go."""
        waiting = dict(self._waiting())
        found = whose_place(waiting, anyio.current_time(), _dice.random())
        if found is not None:
            self.end(found)
        return found

    def _waiting(self) -> Iterator[tuple[ServerWebSocket, float]]:
        """Yield those that the relay waits for, with since when: not those that wait for it."""
        for socket, inbox in self._each.items():
            if inbox.waiting_since is not None:
                yield socket, inbox.waiting_since


def whose_place(
    waiting: Mapping[ServerWebSocket, float], now: float, dice: float
) -> ServerWebSocket | None:
    """Return who has to go, of those with since when they let the relay wait.

    `now` is in the loop's seconds, `dice` a random number in 0..1.
    """
    if not waiting:
        return None
    longest = min(waiting, key=lambda socket: waiting[socket])
    if now - waiting[longest] >= PATIENCE:
        return longest
    if dice >= CHANCE:
        return None
    return list(waiting)[int(dice / CHANCE * len(waiting))]
