"""The network loses connections, and agents notice no more than a pause (R6)."""

import asyncio
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
import pytest_asyncio

from tests.helpers.agent import call
from tests.helpers.tcp_proxy import TcpProxy
from tests.helpers.tunnel import TUNNEL, end
from tests.integration.scene import OTHER, SERVER, eventually, grant, open_scene
from tests.integration.test_link_failures import (
    Running,
    Wire,
    each_is_answered_once,
    each_ran_once,
    kill,
    running,
)
from tunnel_client.reconnect import TOLD_EACH

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

LONG = "60s"
CUTS = int(os.environ.get("CUTS", "10"))
"""How often a link is cut under load; `make cuts` does it 1,000 times, with what is set by default
and after a while of this many seconds at most."""
PATIENCE = (
    {}
    if "CUTS" in os.environ
    else {"limits.resume_seconds": LONG, "limits.resume_closed_seconds": LONG}
)
LIMITS = {"limits.ping_interval": "1s", "limits.ping_deadline": "1s", **PATIENCE}
AT_MOST_SECONDS = 1.5 if "CUTS" in os.environ else 0.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wire() -> AsyncIterator[Wire]:
    async with TcpProxy() as proxy, open_scene(LIMITS, via=proxy, links=1) as scene:
        yield Wire(scene, proxy)


@pytest_asyncio.fixture(loop_scope="module")
async def fresh(wire: Wire) -> Wire:
    await wire.scene.serves()
    wire.scene.upstream.seen.clear()
    return wire


async def link_of(wire: Wire) -> dict[str, Any]:
    (link,) = (await wire.scene.lab.relay_json("status"))["links"]
    found: dict[str, Any] = link
    return found


async def resumed(wire: Wire) -> int:
    """Return how often links were resumed."""
    shown = await wire.scene.lab.relay_json("status")
    return sum(link["resumed"] for link in shown["links"])


async def is_cut(wire: Wire) -> bool:
    return bool((await link_of(wire))["detached"])


async def carries_more(proxy: TcpProxy, workers: list[asyncio.Task[None]]) -> None:
    due = proxy.carried + 10_000
    await eventually(lambda: proxy.carried > due or any(each.done() for each in workers))
    for each in workers:
        if each.done():
            each.result()  # says what was wrong with its answer


async def finish(calls: Running) -> None:
    """Have the upstream end what runs, and see that every agent got all of it."""
    for phase in ("waiting", "legacy"):
        await calls.seen[phase].result({"phase": phase})
    await calls.seen["body"].chunk(b'"id":1,"result":{}}'.ljust(983))
    await calls.seen["body"].end()
    await calls.seen["stream"].event({"jsonrpc": "2.0", "id": 2, "result": {}})
    await calls.seen["stream"].end()
    for phase in ("waiting", "legacy"):
        reply = await calls.replies[phase].end()
        assert (reply.status, reply.document["result"]) == (200, {"phase": phase})
    body = await calls.replies["body"].end()
    assert body.document == {"jsonrpc": "2.0", "id": 1, "result": {}}
    stream = await calls.replies["stream"].end()
    assert [event.get("n", event.get("id")) for event in stream.events] == [1, 2]


async def test_calls_in_every_phase_survive_a_cut_cable(fresh: Wire) -> None:
    scene, proxy = fresh.scene, fresh.proxy
    before = await link_of(fresh)
    async with running(scene) as calls:
        taken = proxy.taken
        proxy.cut()
        await eventually(lambda: proxy.taken > taken)
        await finish(calls)
        each_ran_once(scene, calls)
    after = await link_of(fresh)
    assert (after["since"], after["epoch"]) == (before["since"], before["epoch"])
    assert after["resumed"] == before["resumed"] + 1


async def test_calls_survive_a_network_that_swallowed_everything(fresh: Wire) -> None:
    """R6: no end of a connection is seen, only silence."""
    scene, proxy = fresh.scene, fresh.proxy
    async with running(scene) as calls:
        proxy.stall()
        try:
            await eventually(lambda: is_cut(fresh))
        finally:
            proxy.cut()
            proxy.resume()
        await finish(calls)
        each_ran_once(scene, calls)
    assert "the peer did not answer a ping for" in scene.log("relay.log")


async def test_whoever_reads_that_a_link_was_lost_reads_that_it_was_resumed(fresh: Wire) -> None:
    """However many attempts between the two were too many to be told each."""
    scene, proxy = fresh.scene, fresh.proxy
    before = await resumed(fresh)
    proxy.refusing, turned_away = True, proxy.turned_away
    try:
        proxy.cut()
        await eventually(lambda: proxy.turned_away > turned_away + TOLD_EACH + 1)
    finally:
        proxy.refusing = False
    await scene.serves()
    assert await resumed(fresh) == before + 1
    lines = scene.log("client.log").splitlines()
    told = [line for line in lines if "link lost" in line or "link resumed" in line]
    assert "link resumed" in told[-1]


@pytest.mark.slow
async def test_a_connection_that_is_stuck_is_left_where_another_one_works() -> None:
    """R6: long before a ping is due, as TCP on its own would try again ever more seldom."""
    async with TcpProxy() as proxy, open_scene(via=proxy, links=1) as scene:
        wire = Wire(scene, proxy)
        before = await link_of(wire)
        async with running(scene) as calls:
            proxy.strand()
            await eventually(lambda: "is stuck and another one works" in scene.log("client.log"))
            await finish(calls)
            each_ran_once(scene, calls)
        after = await link_of(wire)
        assert (after["since"], after["resumed"]) == (before["since"], before["resumed"] + 1)


async def test_calls_made_meanwhile_wait_however_long_it_takes(fresh: Wire) -> None:
    """Longer than a call is held for a client that is not there at all."""
    scene, proxy = fresh.scene, fresh.proxy
    proxy.refusing = True
    try:
        proxy.cut()
        await eventually(lambda: is_cut(fresh))
        held = [asyncio.create_task(scene.agent.ask(call("echo", case="held"))) for _ in range(5)]
        turned_away = proxy.turned_away
        await eventually(lambda: proxy.turned_away > turned_away)
    finally:
        proxy.refusing = False
    assert [(await each).status for each in held] == [200] * 5
    assert len(scene.upstream.calls("held")) == 5


async def test_a_link_cut_over_and_over_fails_no_call_and_runs_none_twice(fresh: Wire) -> None:
    await over_and_over(fresh)


async def test_two_links_cut_over_and_over_fail_no_call_and_run_none_twice() -> None:
    async with TcpProxy() as proxy, open_scene(LIMITS, via=proxy) as scene:
        await scene.linked()
        await over_and_over(Wire(scene, proxy))


async def over_and_over(wire: Wire) -> None:
    """Cut all there is at random moments while agents call."""
    scene, proxy = wire.scene, wire.proxy
    done, moments = asyncio.Event(), random.Random(CUTS)
    asked, longest = 0, 0.0

    async def keep_asking(worker: int) -> None:
        nonlocal asked, longest
        while not done.is_set():
            asked += 1
            began = anyio.current_time()
            reply = await scene.agent.ask(call("echo", case=f"{worker}-{asked}"))
            assert reply.status == 200, reply.body
            longest = max(longest, anyio.current_time() - began)

    workers = [asyncio.create_task(keep_asking(worker)) for worker in range(4)]
    before = await resumed(wire)
    for _ in range(CUTS):
        await carries_more(proxy, workers)
        await anyio.sleep(moments.uniform(0, AT_MOST_SECONDS))
        proxy.cut()
    done.set()
    await asyncio.gather(*workers)
    sys.stdout.write(f"{CUTS} cuts, {asked} calls, the longest took {longest:.2f} s\n")
    assert await resumed(wire) >= before + CUTS // 2
    ran = Counter(seen.case for seen in scene.upstream.seen if seen.case)
    assert len(ran) == asked
    assert set(ran.values()) == {1}


async def test_a_session_revoked_meanwhile_is_cut_at_the_agent_now_and_at_the_upstream_later(
    fresh: Wire,
) -> None:
    scene, proxy = fresh.scene, fresh.proxy
    other = await grant(scene.lab)
    async with other.agent.open(call("driven", id=7, case="revoked")) as reply:
        seen = await scene.upstream.arrived("revoked")
        proxy.refusing = True
        try:
            proxy.cut()
            await eventually(lambda: is_cut(fresh))
            await scene.lab.relay_command("session", "revoke", other.id)
            assert (await reply.end()).error
            assert not seen.closed.is_set()
        finally:
            proxy.refusing = False
        await scene.upstream.until(seen.closed.is_set)
    await scene.serves()


async def test_a_client_disabled_meanwhile_ends_all_it_has_and_stops() -> None:
    limits = {"limits.resume_seconds": LONG, "limits.resume_closed_seconds": LONG}
    async with TcpProxy() as proxy, open_scene(limits, via=proxy, links=1) as scene:
        async with scene.agent.open(call("driven", id=3, case="disabled")):
            seen = await scene.upstream.arrived("disabled")
            proxy.refusing = True
            proxy.cut()
            await eventually(lambda: is_cut(Wire(scene, proxy)))
            await scene.lab.relay_json("tunnel", "disable", TUNNEL)
            proxy.refusing = False
            await scene.upstream.until(seen.closed.is_set)
        assert scene.lab.client is not None
        with anyio.fail_after(20):
            assert await scene.lab.client.wait() == 77


async def test_a_client_that_comes_back_as_another_program_ends_what_the_first_had(
    fresh: Wire,
) -> None:
    """It cannot go on with what it does not remember: its calls are told at once."""
    scene = fresh.scene
    async with running(scene) as calls:
        await kill(scene.lab.client)
        await end(scene.lab.client)
        await scene.lab.start_client([SERVER, OTHER])
        await each_is_answered_once(calls)
        each_ran_once(scene, calls)
    await scene.serves()
