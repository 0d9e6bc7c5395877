"""Where tasks wait, told without what they hold."""

import asyncio

from shared.tasklist import tasks


async def test_a_task_is_told_with_the_line_where_it_waits() -> None:
    gate = asyncio.Event()

    async def waits(secret: str) -> None:
        await gate.wait()
        assert secret

    task = asyncio.create_task(waits("canary"), name="named")
    await asyncio.sleep(0)
    found = next(each for each in tasks() if each["name"] == "named")
    gate.set()
    await task
    assert "waits" in found["waits"][0]
    assert "test_tasklist.py" in found["waits"][0]
    assert "canary" not in str(found)
