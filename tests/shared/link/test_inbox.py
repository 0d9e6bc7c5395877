"""What an inbox holds of a handshake, for how much, and until when."""

import anyio
import pytest

from shared.errors import PeerError
from shared.link.inbox import Inbox, LinkLostError

pytestmark = pytest.mark.asyncio


class Taking:
    """Takes over a transport."""

    def __init__(self) -> None:
        self.took: list[object] = []

    def message_received(self, message: bytes) -> None:
        self.took.append(message)

    def transport_writable(self) -> None:
        self.took.append("writable")

    def transport_lost(self, code: int, reason: str) -> None:
        self.took.append((code, reason))


async def test_messages_come_in_order_and_then_the_end() -> None:
    inbox = Inbox()
    inbox.message_received(b"a")
    inbox.message_received(b"b")
    inbox.check_connected()
    inbox.transport_lost(1001, "it stops")
    assert [await inbox.receive(), await inbox.receive()] == [b"a", b"b"]
    for _ in range(2):
        with pytest.raises(LinkLostError, match="link closed: 1001 it stops") as lost:
            await inbox.receive()
        assert (lost.value.code, lost.value.reason) == (1001, "it stops")


async def test_who_left_is_found_gone_whatever_came_before() -> None:
    inbox = Inbox()
    inbox.message_received(b"a")
    inbox.transport_lost(1006, "")
    with pytest.raises(LinkLostError):
        inbox.check_connected()


@pytest.mark.parametrize(("early_bytes", "holds"), [(0, 8), (90, 9)])
async def test_more_than_a_handshake_has_is_refused(early_bytes: int, holds: int) -> None:
    inbox = Inbox(early_bytes)
    for _ in range(holds):
        inbox.message_received(bytes(10))
    with pytest.raises(PeerError, match="too many messages"):
        inbox.message_received(bytes(10))


async def test_who_takes_over_gets_what_came_early_and_the_end() -> None:
    inbox, taking = Inbox(), Taking()
    inbox.message_received(b"a")
    inbox.message_received(b"b")
    inbox.transport_lost(1001, "it stops")
    inbox.hand_over(taking)
    assert taking.took == [b"a", b"b", (1001, "it stops")]


async def test_an_inbox_tells_since_when_somebody_waits_for_its_next_message() -> None:
    inbox, began = Inbox(), [0.0]

    def since() -> float | None:
        return inbox.waiting_since

    for _ in range(2):
        assert since() is None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(inbox.receive)
            await anyio.wait_all_tasks_blocked()
            began.append(since() or 0.0)
            await anyio.sleep(0.01)
            inbox.message_received(b"x")
    assert since() is None
    assert began == sorted(set(began))
