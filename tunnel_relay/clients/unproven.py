"""Who shakes hands with the relay and proved nothing yet, and whose place a newcomer may take."""

from collections import Counter

from shared.link.websocket import Inbox, ServerWebSocket

PATIENCE = 2.0
"""So many seconds the relay waits for a peer's next message before another may have its place.

Long enough that no turn of a busy loop, which reads late what came early, looks like silence.
"""


class Unproven:
    """Sockets in the order in which they came, each with whose it is and what it said.

    Anybody can begin a handshake and say no more: that must keep no client out. And a thousand
    clients that come back together must not push each other out before any of them is done.
    """

    def __init__(self) -> None:
        self._each: dict[ServerWebSocket, tuple[str, Inbox]] = {}

    def add(self, socket: ServerWebSocket, address: str, inbox: Inbox) -> None:
        """Count one more; `address` is what `ratelimit.address_key` makes of where it is."""
        self._each[socket] = address, inbox

    def remove(self, socket: ServerWebSocket) -> None:
        """Count it no more: it proved who it is, or is gone."""
        self._each.pop(socket, None)

    def in_the_way(self, newcomer: str, now: float) -> ServerWebSocket | None:
        """Return who has to go for one more from this address, None when that would be unfair.

        Of the address that has most of them goes the oldest, if the newcomer's has fewer even with
        it; else the oldest that has let us wait for `PATIENCE`. `now` is in the loop's seconds.
        """
        held = Counter(address for address, _ in self._each.values())
        if not held:
            return None
        ((busiest, most),) = held.most_common(1)
        fewer = held[newcomer] + 1 < most
        for socket, (address, inbox) in self._each.items():
            if address == busiest and (fewer or _waits(inbox, now)):
                return socket
        return None


def _waits(inbox: Inbox, now: float) -> bool:
    return inbox.waiting_since is not None and now - inbox.waiting_since >= PATIENCE
