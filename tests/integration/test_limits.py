"""What one session, one user and one address may ask for; the others notice nothing."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from tests.helpers.agent import Agent, Reply, call
from tests.helpers.tunnel import TUNNEL, CommandError
from tests.integration.scene import SERVER, Scene, eventually, open_scene

MIB = 1024 * 1024
ABSENT = "absent"
"""A server that no client serves: calls of it wait."""

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tight() -> AsyncIterator[Scene]:
    settings = {
        "limits.session_calls_per_second": "5",
        "limits.wait_for_client": "2s",
        "limits.session_streams": "3",
        "limits.user_calls_per_second": "0",
        "limits.user_sessions": "4",
        "limits.session_body_bytes": str(8 * MIB),
        "limits.user_body_bytes": str(8 * MIB),
        "limits.bad_tokens_per_minute": "5",
    }
    async with open_scene(settings) as opened:
        yield opened


async def test_a_flood_is_told_to_wait_and_another_user_is_served(tight: Scene) -> None:
    """D03, S23."""
    flooding = await tight.grant(user="flood")
    seen = len(tight.upstream.calls("flood"))
    replies = [await flooding.agent.ask(call("echo", case="flood")) for _ in range(40)]
    refused = [reply for reply in replies if reply.status == 429]
    assert refused
    for reply in refused:
        assert int(reply.values("retry-after")[0]) >= 1
        assert reply.document["error"]["data"] == {"origin": "relay", "delivery": "never_sent"}
    # Nothing that was refused reached the upstream.
    assert len(tight.upstream.calls("flood")) - seen == len(replies) - len(refused)
    await tight.serves((await tight.grant(user="other")).agent, "other-is-served")


async def test_calls_at_a_time_are_bounded_and_come_free_again(tight: Scene) -> None:
    """D14."""
    mine = await tight.grant(user="many")
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(mine.agent.open(call("driven", case="many")))
        waiting = await tight.upstream.arrived("many", 3)
        more = call("echo", case="more", id="x-1")
        reply = await mine.agent.ask(more)
        assert reply.status == 429
        assert "at a time" in reply.document["error"]["message"]
        assert reply.document["id"] == "x-1"
        assert tight.upstream.calls("more") == []
        await waiting.result({"content": []})
        await eventually(lambda: _takes(mine.agent, more), every=0.3)


async def test_a_user_has_so_many_sessions_and_others_keep_theirs(tight: Scene) -> None:
    """S23."""
    kept = await tight.grant(user="keeper")
    for _ in range(4):
        await tight.grant(user="greedy")
    with pytest.raises(CommandError) as caught:
        await tight.grant(user="greedy")
    assert "MT1047" in caught.value.stderr
    await tight.serves(kept.agent, "keeper-is-served")


async def test_s01_wrong_tokens_of_one_address_are_counted_and_good_ones_are_served(
    tight: Scene,
) -> None:
    port, path = tight.lab.port, f"/t/{TUNNEL}/{SERVER}/mcp"
    wrong = Agent(port, path, SecretStr("mts_" + "B" * 43), tight.lab.origin.partition("://")[2])
    statuses = [(await wrong.ask(call("echo"))).status for _ in range(12)]
    assert statuses[0] == 401
    assert statuses[-1] == 429
    await tight.serves((await tight.grant(user="honest")).agent, "honest-is-served")


def large(case: str) -> dict[str, Any]:
    """Make a call of 3 MiB."""
    return call("echo", case=case, padding=" " * (3 * MIB))


@asynccontextmanager
async def unfinished(agent: Agent, count: int) -> AsyncIterator[list[Reply]]:
    """Send all but the last byte of so many large bodies, on a connection each."""
    whole = json.dumps(large("unfinished")).encode()
    headers = [("Content-Length", str(len(whole)))]
    headers += [pair for pair in agent.head(call("echo")) if pair[0].startswith(("Mcp-", "MCP-"))]
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(agent.open(whole[:-1], headers=headers))
            for _ in range(count)
        ]


async def test_slow_bodies_of_one_user_are_not_everybody_elses_trouble(tight: Scene) -> None:
    """D03: a quarter of the sum for one session."""
    slow = await tight.grant(user="slow")
    async with unfinished(slow.agent, 3) as replies:
        await eventually(lambda: [reply for reply in replies if reply.status])
        (refused,) = [reply for reply in replies if reply.status]
        assert refused.status == 429
        assert int(refused.values("retry-after")[0]) >= 1
        again = await (await tight.grant(user="slow")).agent.ask(large("another-session"))
        assert again.status == 429
        other = await tight.grant(user="brisk")
        assert (await other.agent.ask(large("brisk"))).status == 200
    assert tight.upstream.calls("unfinished") == []
    assert tight.upstream.calls("another-session") == []
    # What was held came free with the connections.
    freed = (await tight.grant(user="slow")).agent
    await eventually(lambda: _takes(freed, large("freed")), every=0.3)


async def test_a_large_body_is_counted_no_longer_when_the_link_took_it(tight: Scene) -> None:
    agent = (await tight.grant(user="steady")).agent
    for _ in range(6):
        assert (await agent.ask(large("steady"))).status == 200
    async with AsyncExitStack() as stack:
        for count in (1, 2, 3):  # each waits for its answer, and holds nothing of the relay
            waiting = call("driven", case="taken-in", padding=" " * (3 * MIB))
            await stack.enter_async_context(agent.open(waiting))
            await tight.upstream.arrived("taken-in", count)


async def test_calls_that_wait_for_a_client_count_like_those_under_way(tight: Scene) -> None:
    """D14: nobody fills the places where calls wait."""
    waiting = await tight.grant(ABSENT, user="patient")
    async with AsyncExitStack() as stack:
        held = [
            await stack.enter_async_context(waiting.agent.open(call("echo", id=number)))
            for number in range(4)
        ]
        await eventually(lambda: [reply for reply in held if reply.status == 429])
        (refused,) = [reply for reply in held if reply.status == 429]
        for reply in held:
            if reply is not refused:
                await reply.end()
                assert reply.status == 503
    # All places are free again: the same number may wait, and none is refused at once.
    async with AsyncExitStack() as stack:
        held = [
            await stack.enter_async_context(waiting.agent.open(call("echo", id=number)))
            for number in range(3)
        ]
        for reply in held:
            await reply.end()
            assert reply.status == 503


async def test_bodies_of_calls_that_wait_count_and_those_of_agents_that_left_do_not(
    tight: Scene,
) -> None:
    waiting = await tight.grant(ABSENT, user="hoarder")
    served = (await tight.grant(user="hoarder")).agent
    async with AsyncExitStack() as stack:
        held = [
            await stack.enter_async_context(waiting.agent.open(large("held"))) for _ in range(3)
        ]
        await eventually(lambda: [reply for reply in held if reply.status])
        (refused,) = [reply for reply in held if reply.status]
        assert refused.status == 429
        assert (await served.ask(large("served"))).status == 429
    await eventually(lambda: _takes(served, large("served")), every=0.5)


async def _takes(agent: Agent, message: dict[str, Any]) -> bool:
    return (await agent.ask(message)).status == 200
