"""What a relay waits for when it ordered a client to cut sessions."""

from typing import Any, cast

import anyio
import pytest

from tunnel_relay.clients.link import Link
from tunnel_relay.clients.orders import Orders, Revoking

pytestmark = pytest.mark.asyncio
HOUR = 3600.0


class Place:
    """As much of a link as is asked of it."""

    def __init__(self, instance: str) -> None:
        self.instance = instance
        self.orders: dict[int, Any] = {}


def given(*instances: str) -> tuple[list[Orders], Revoking]:
    """Give one order on a link of each."""
    orders = {cast(Link, Place(each)): Orders(anyio.current_time()) for each in instances}
    for each in orders.values():
        each.asked()
    return list(orders.values()), Revoking(orders, [], 30.0)


async def test_a_link_that_is_stuck_holds_up_no_answer_of_its_client() -> None:
    (stuck, heard), revoking = given("a", "a")
    heard.told(3)
    with anyio.fail_after(HOUR / 100):
        (report,) = await revoking.answers(HOUR)
    assert (report["links"], report["ended"], report["lease"]) == (2, 3, None)
    assert stuck.answer is None


async def test_another_client_that_is_silent_is_waited_for() -> None:
    (heard, _), revoking = given("a", "b")
    heard.told(1)
    first, silent = await revoking.answers(0.5)
    assert (first["ended"], first["lease"]) == (1, None)
    assert (silent["ended"], silent["lease"]) == (None, 30.0)


async def test_a_client_that_lost_all_its_links_is_not_waited_for() -> None:
    (one, two), revoking = given("a", "a")
    one.told(None)
    two.told(None)
    (report,) = await revoking.answers(HOUR)
    assert report["lease"] == 30.0
