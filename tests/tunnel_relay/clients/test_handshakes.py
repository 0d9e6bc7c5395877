"""Whose place a newcomer may take when the relay has all the handshakes that it takes."""

import anyio
import pytest

from shared.link.inbox import Inbox
from shared.link.websocket import ServerWebSocket
from tunnel_relay.clients.handshakes import CHANCE, PATIENCE, Handshakes, whose_place

pytestmark = pytest.mark.asyncio

NOW = 1000.0
NEVER, SURELY = 1.0, 0.0


def a_socket() -> ServerWebSocket:
    return ServerWebSocket(lambda _: None, lambda *_: None)


@pytest.mark.parametrize(
    ("silent_for", "dice", "place"),
    [
        ([], SURELY, None),
        ([1.9, 0.0, 1.0], NEVER, None),
        ([1.0, PATIENCE, 0.5], NEVER, 1),
        ([2.5, 3.5, 3.0], NEVER, 1),
        ([2.5, 3.5, 3.0], SURELY, 1),
        ([0.1, 0.2, 0.3, 0.4], SURELY, 0),
        ([0.1, 0.2, 0.3, 0.4], CHANCE * 0.49, 1),
        ([0.1, 0.2, 0.3, 0.4], CHANCE * 0.51, 2),
        ([0.1, 0.2, 0.3, 0.4], CHANCE * 0.99, 3),
        ([0.1, 0.2, 0.3, 0.4], CHANCE, None),
    ],
)
async def test_who_has_to_go(silent_for: list[float], dice: float, place: int | None) -> None:
    sockets = [a_socket() for _ in silent_for]
    waiting = {each: NOW - seconds for each, seconds in zip(sockets, silent_for, strict=True)}
    found = whose_place(waiting, NOW, dice)
    assert (None if found is None else sockets.index(found)) == place


async def test_who_has_to_go_counts_no_more_and_who_waits_for_the_relay_stays() -> None:
    handshakes, silent, heard = Handshakes(2), a_socket(), a_socket()
    inboxes = Inbox(), Inbox()
    handshakes.begin(heard, inboxes[0])
    handshakes.begin(silent, inboxes[1])
    assert [handshakes.make_room() for _ in range(100)] == [None] * 100
    inboxes[1].waiting_since = anyio.current_time() - PATIENCE
    assert handshakes.make_room() is silent
    assert len(handshakes) == 1
    assert [handshakes.make_room() for _ in range(100)] == [None] * 100
    for socket in (heard, heard, silent):
        handshakes.end(socket)
    assert len(handshakes) == 0
