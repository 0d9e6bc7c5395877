"""What one session, one user and one address may ask for; the others notice nothing."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from tests.helpers.agent import Agent, call
from tests.helpers.tunnel import TUNNEL, CommandError
from tests.integration.scene import SERVER, Scene, eventually, open_scene

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tight() -> AsyncIterator[Scene]:
    settings = {
        "limits.session_calls_per_second": "5",
        "limits.session_streams": "3",
        "limits.user_calls_per_second": "0",
        "limits.user_sessions": "4",
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
        await eventually(lambda: _served(mine.agent, more), every=0.3)


async def _served(agent: Agent, message: dict[str, Any]) -> bool:
    return (await agent.ask(message)).status == 200


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
