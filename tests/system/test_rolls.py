"""One relay takes over from another under a socket that outlives both; `make faults` counts more.

Row R12 is this at a pace, over and over.
"""

import asyncio
from collections.abc import AsyncIterator

import anyio
import pytest
import pytest_asyncio

from tests.helpers.agent import call, connected
from tests.helpers.tunnel import end
from tests.integration.scene import Scene, open_scene
from tests.system.fault_rows.rolling import Load, Slow, handed, roll

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene() -> AsyncIterator[Scene]:
    # Long enough for every connection that is kept to be used once more.
    limits = {"limits.drain_notice": "1s"}
    async with open_scene(limits, upstream=Slow(), prepare=handed) as scene:
        yield scene


@pytest.mark.slow
async def test_a_relay_is_replaced_and_no_call_fails(scene: Scene) -> None:
    """Agents here repeat nothing: one that could not write in a second is closed on meanwhile."""
    load, upstream = Load(scene.agent), scene.upstream
    assert isinstance(upstream, Slow)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(load.run)
        await roll(scene)
        await scene.linked()
        load.over = True
    assert load.failed == []
    assert len(load.taken) == load.made
    assert set(upstream.came.values()) == {1}
    assert scene.log("relay.log").count("waiting_for_state") >= 1


async def test_whoever_calls_while_no_relay_runs_is_answered_by_the_next(scene: Scene) -> None:
    """As `systemctl restart` does it: the old one goes, then the new one comes."""
    await end(scene.lab.relay)
    async with connected(scene.lab.port) as waiting:
        waiting.transport.write(scene.agent.encode(call("echo")))
        await asyncio.sleep(0)  # no relay: the kernel has it
        await scene.lab.start_relay()
        assert (await waiting.end()).status == 200
