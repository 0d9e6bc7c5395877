"""Whose place a newcomer may take among those that proved nothing yet."""

import pytest

from shared.link.websocket import Inbox, ServerWebSocket
from tunnel_relay.clients.unproven import PATIENCE, Unproven

NOW = 1000.0
LONG_AGO = NOW - PATIENCE
JUST_NOW = NOW - PATIENCE + 0.1


class Room:
    """Those of some addresses, in order, and since when each lets the relay wait."""

    def __init__(self, *there: tuple[str, float | None]) -> None:
        self.unproven = Unproven()
        self.sockets: list[ServerWebSocket] = []
        for address, since in there:
            self.sockets.append(ServerWebSocket(lambda *_: None, lambda *_: None))
            inbox = Inbox()
            inbox.waiting_since = since
            self.unproven.add(self.sockets[-1], address, inbox)

    def in_the_way(self, newcomer: str) -> int | None:
        """Return the place in line of who has to go."""
        found = self.unproven.in_the_way(newcomer, NOW)
        return None if found is None else self.sockets.index(found)


@pytest.mark.parametrize(
    ("there", "newcomer", "dropped"),
    [
        ([], "a", None),
        ([("a", JUST_NOW)] * 3, "a", None),
        ([("a", None)] * 3, "a", None),
        ([("a", None), ("a", JUST_NOW), ("a", LONG_AGO), ("a", LONG_AGO - 1)], "a", 2),
        ([("b", JUST_NOW), ("a", JUST_NOW), ("a", JUST_NOW)], "c", 1),
        ([("b", JUST_NOW), ("a", None), ("a", JUST_NOW)], "c", 1),
        ([("b", JUST_NOW), ("a", JUST_NOW), ("a", JUST_NOW)], "b", None),
        ([("b", LONG_AGO), ("a", JUST_NOW), ("a", LONG_AGO)], "b", 2),
        ([("b", JUST_NOW), ("a", JUST_NOW), ("a", JUST_NOW), ("a", JUST_NOW)], "b", 1),
        ([("a", JUST_NOW), ("b", JUST_NOW), ("c", JUST_NOW)], "d", None),
        ([("a", JUST_NOW), ("b", LONG_AGO), ("b", JUST_NOW)], "d", 1),
    ],
    ids=[
        "nobody",
        "all of one address, and quick",
        "the relay has not come to them",
        "the oldest that is silent",
        "the oldest of many, for who has none",
        "the same, which the relay has not come to",
        "as many with the newcomer",
        "of the busiest address, not of another",
        "the oldest of many, for who has fewer",
        "one of each",
        "the oldest of the busiest",
    ],
)
def test_who_has_to_go(
    there: list[tuple[str, float | None]], newcomer: str, dropped: int | None
) -> None:
    assert Room(*there).in_the_way(newcomer) == dropped


def test_who_proved_itself_is_left_alone() -> None:
    room = Room(("a", LONG_AGO), ("a", LONG_AGO))
    room.unproven.remove(room.sockets[0])
    assert room.in_the_way("a") == 1
    room.unproven.remove(room.sockets[1])
    room.unproven.remove(room.sockets[1])
    assert room.in_the_way("a") is None
