"""The sweep looks at everything, and lets other work go on meanwhile."""

import asyncio

from tunnel_relay.gateway.sweeping import AT_A_TIME, in_turns


async def test_each_is_looked_at_once_and_in_order() -> None:
    seen: list[int] = []
    items = list(range(3 * AT_A_TIME + 1))
    await in_turns(items, seen.append)
    assert seen == items


async def test_nothing_to_look_at_is_no_mistake() -> None:
    await in_turns([], lambda item: None)


async def test_other_work_has_its_turn_after_some() -> None:
    seen: list[int] = []
    between: list[int] = []

    async def work() -> None:
        while len(seen) < 4 * AT_A_TIME:
            between.append(len(seen))
            await asyncio.sleep(0)

    working = asyncio.create_task(work())
    await in_turns(range(4 * AT_A_TIME), seen.append)
    await working
    assert between == [AT_A_TIME, 2 * AT_A_TIME, 3 * AT_A_TIME]
