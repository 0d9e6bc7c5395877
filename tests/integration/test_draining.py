"""A relay that is told to stop: what runs is answered, what is new is served, nobody is left."""

import os
import signal
from collections.abc import AsyncIterator

import anyio
import pytest
import pytest_asyncio

from tests.helpers.agent import LEGACY, Reply, call, connected, initialize
from tests.helpers.tcp_proxy import TcpProxy
from tests.helpers.tunnel import end
from tests.integration.scene import Scene, eventually, open_scene
from tests.integration.test_link_failures import UNKNOWN, Wire

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

SECONDS = "TUNNEL_RELAY_LIMITS__DRAIN_SECONDS"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wire() -> AsyncIterator[Wire]:
    limits = {"limits.drain_seconds": "60s", "limits.resume_closed_seconds": "60s"}
    async with TcpProxy() as proxy, open_scene(limits, via=proxy) as scene:
        yield Wire(scene, proxy)


@pytest_asyncio.fixture(loop_scope="module")
async def scene(wire: Wire) -> AsyncIterator[Scene]:
    scene, patience = wire.scene, wire.scene.lab.environment[SECONDS]
    await serving(scene)
    yield scene
    scene.lab.environment[SECONDS] = patience


async def serving(scene: Scene) -> None:
    """Have a relay that runs, with its link."""
    if scene.lab.relay is None or scene.lab.relay.returncode is not None:
        await scene.lab.start_relay()
        # One that lost its relay over and over would come back late.
        await end(scene.lab.client)
        await scene.lab.start_client([])
    await scene.linked()
    scene.upstream.seen.clear()


async def restart(scene: Scene, seconds: str) -> None:
    """Have a relay that waits for calls for so long."""
    tell(scene)
    assert await left(scene) == 0
    scene.lab.environment[SECONDS] = seconds
    await serving(scene)


def tell(scene: Scene) -> None:
    """Tell the relay to stop."""
    assert scene.lab.relay is not None
    os.kill(scene.lab.relay.pid, signal.SIGTERM)


async def left(scene: Scene) -> int:
    """Wait until the relay is gone; returns its exit code."""
    assert scene.lab.relay is not None
    with anyio.fail_after(20):
        return await scene.lab.relay.wait()


async def stopping(scene: Scene) -> bool:
    return bool((await scene.ready())["reason"] == "stopping")


async def ask_again(reply: Reply, request: bytes) -> None:
    """Make one more call on a connection."""
    reply.begin_again()
    reply.transport.write(request)
    await reply.end()


async def test_what_runs_is_answered_and_new_calls_are_served_until_it_is(scene: Scene) -> None:
    lab, echo = scene.lab, scene.agent.encode(call("echo"))
    async with connected(lab.port) as kept, scene.agent.open(call("driven", case="runs")) as runs:
        await ask_again(kept, echo)
        assert (kept.status, kept.values("connection")) == (200, [])
        seen = await scene.upstream.arrived("runs")
        tell(scene)
        await eventually(lambda: stopping(scene))
        await ask_again(kept, echo)
        fresh = await scene.agent.ask(call("echo"))
        for reply in (kept, fresh):
            assert (reply.status, reply.values("connection")) == (200, ["close"])
        await kept.broken()
        await seen.result({"still": "here"})
        assert (await runs.end()).document["result"] == {"still": "here"}
        assert runs.values("connection") == ["close"]
    assert await left(scene) == 0
    assert "draining" in scene.log("relay.log")


async def test_a_connection_that_is_open_is_served_after_the_port_was_closed(scene: Scene) -> None:
    """The last call keeps the relay; whoever is connected is served for as long."""
    stream = call("driven", case="stream")
    lab = scene.lab
    async with scene.agent.open(call("driven", case="first")) as first, connected(lab.port) as kept:
        await ask_again(kept, scene.agent.encode(call("echo")))
        seen = await scene.upstream.arrived("first")
        tell(scene)
        await eventually(lambda: stopping(scene))
        async with scene.agent.open(stream) as late:
            other = await scene.upstream.arrived("stream")
            await seen.result({})
            await first.end()
            await eventually(lambda: refused(scene))
            await ask_again(kept, scene.agent.encode(call("echo")))
            assert kept.status == 200
            await other.result({"late": True})
            assert (await late.end()).document["result"] == {"late": True}
    assert await left(scene) == 0


async def test_a_connection_that_was_taken_last_may_still_ask(scene: Scene) -> None:
    """Nothing of its request has come when the port is closed: the agent could not know."""
    async with scene.agent.open(call("driven", case="last")) as last:
        seen = await scene.upstream.arrived("last")
        tell(scene)
        await eventually(lambda: stopping(scene))
        async with connected(scene.lab.port) as fresh:
            await scene.ready()
            await seen.result({})
            await last.end()
            await eventually(lambda: refused(scene), every=0.005)
            fresh.transport.write(scene.agent.encode(call("echo")))
            assert (await fresh.end()).status == 200
    assert await left(scene) == 0


async def refused(scene: Scene) -> bool:
    try:
        await scene.ready()
    except OSError:
        return True
    return False


async def test_streams_that_only_push_end_between_two_events_and_say_when_to_come_back(
    scene: Scene,
) -> None:
    began = await scene.agent.ask(initialize())
    named = [
        ("Mcp-Session-Id", began.values("mcp-session-id")[0]),
        ("MCP-Protocol-Version", LEGACY),
    ]
    async with scene.agent.open(method="GET", headers=named) as pushes:
        (seen,) = await scene.upstream.streams()
        await seen.event_stream()
        await seen.event({"n": 1})
        await pushes.text(b'"n"')
        tell(scene)
        await pushes.end()
        assert pushes.events == [{"n": 1}]
        assert b"".join(pushes.chunks).endswith(b"\n\nretry: 1000\n\n")
        await scene.upstream.until(seen.closed.is_set)
    assert await left(scene) == 0


async def test_what_takes_too_long_is_cut_and_told_that_it_may_have_run(scene: Scene) -> None:
    await restart(scene, "1s")
    waiting, streaming = call("driven", id=7, case="slow"), call("driven", id=8, case="events")
    async with scene.agent.open(waiting) as slow, scene.agent.open(streaming) as events:
        await scene.upstream.arrived("slow")
        seen = await scene.upstream.arrived("events")
        await seen.event_stream()
        await seen.event({"n": 1})
        await events.text(b'"n"')
        tell(scene)
        await slow.end()
        assert (slow.status, slow.error["id"], slow.error["data"]) == (502, 7, UNKNOWN)
        await events.end()
        assert (events.events[-1]["id"], events.events[-1]["error"]["data"]) == (8, UNKNOWN)
        assert b"retry: 1000\n\n" in b"".join(events.chunks)
        assert await left(scene) == 0
        await scene.upstream.until(seen.closed.is_set)
    assert "MT1230" in scene.log("relay.log")


async def test_a_second_signal_waits_for_nobody(scene: Scene) -> None:
    async with scene.agent.open(call("driven", id=9, case="never")) as never:
        await scene.upstream.arrived("never")
        tell(scene)
        await eventually(lambda: stopping(scene))
        tell(scene)
        assert await left(scene) == 0
        await never.broken_or_whole()


async def test_a_link_that_is_cut_meanwhile_goes_on_and_no_other_is_taken(
    wire: Wire, scene: Scene
) -> None:
    async with scene.agent.open(call("driven", case="cut")) as runs:
        seen = await scene.upstream.arrived("cut")
        tell(scene)
        await eventually(lambda: stopping(scene))
        taken, before = wire.proxy.taken, len(scene.log("relay.log"))
        wire.proxy.cut()
        await eventually(lambda: wire.proxy.taken > taken)
        assert (await scene.agent.ask(call("echo"))).status == 200
        await seen.result({"survived": True})
        assert (await runs.end()).document["result"] == {"survived": True}
    assert await left(scene) == 0
    # The client leaves a link without a call soon after the drain begins: before the cut or after.
    since = scene.log("relay.log")[before:]
    assert since.count("link resumed") in {1, 2}
    assert "link up" not in since


async def test_with_nothing_to_wait_for_it_is_gone_at_once(scene: Scene) -> None:
    tell(scene)
    assert await left(scene) == 0
