"""What a revoke reaches of calls that a link still carries when the order came by another."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.helpers.agent import call
from tests.integration.scene import eventually
from tests.integration.test_links import Ways, two_ways

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made() -> AsyncIterator[Ways]:
    async with two_ways() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def ways(made: Ways) -> Ways:
    await made.whole()
    made.scene.upstream.seen.clear()
    return made


async def test_a_call_that_was_on_its_way_when_its_session_ended_does_not_run(ways: Ways) -> None:
    """The order overtakes it on the other link, and then the first one goes on with all it had."""
    scene = ways.scene
    await scene.serves()
    grant = await scene.grant()

    async def sent(calls: int) -> bool:
        return bool((await ways.links())[0]["streams"] == calls)

    ways.first.stall("down")
    try:
        asked = asyncio.create_task(grant.agent.ask(call("echo", case="overtaken")))
        await eventually(lambda: sent(1))
        # What lies between the call and the order: the order is heard in another turn.
        more = [
            asyncio.create_task(
                scene.agent.ask(call("echo", case=f"more-{at}", text="x" * 200_000))
            )
            for at in range(8)
        ]
        await eventually(lambda: sent(9))
        cut = (await scene.lab.relay_json("session", "revoke", grant.id))["cut"]
        assert cut["silent"] == []
        await asked
        ways.lose(ways.first)
    finally:
        ways.first.resume()
    ways.first.rate = 1_000_000
    await ways.whole()
    for each in more:
        assert (await each).status == 200
    assert scene.upstream.calls("overtaken") == []


async def test_an_order_that_comes_late_ends_nothing_that_began_after_it(ways: Ways) -> None:
    """A lock that was lifted: what the agent began since goes on, over whatever link."""
    scene = ways.scene
    grant = await scene.grant(user="bob")
    await scene.serves(grant.agent)
    await ways.lost(ways.first)
    lock = await scene.lab.relay_json("lock", "add", "--user", "bob", "--reason", "test")
    await scene.lab.relay_command("lock", "remove", lock["lock"]["id"])
    async with grant.agent.open(call("driven", id=1, case="anew")) as reply:
        seen = await scene.upstream.arrived("anew")
        await ways.whole()
        await scene.serves()
        await seen.result({"case": "anew"})
        assert (await reply.end()).document["result"] == {"case": "anew"}
