"""A link that is not resumed breaks: each call gets one clear answer and ran at most once."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import anyio
import pytest
import pytest_asyncio

from tests.helpers.agent import Reply, call, initialize
from tests.helpers.recording_upstream import Seen
from tests.helpers.tcp_proxy import TcpProxy
from tests.helpers.tunnel import Program, end
from tests.integration.scene import OTHER, SERVER, Scene, eventually, open_scene

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

UNKNOWN = {"origin": "relay", "delivery": "unknown"}
NEVER_SENT = {"origin": "relay", "delivery": "never_sent"}


@dataclass
class Wire:
    """A scene whose client dials through a network that fails on command."""

    scene: Scene
    proxy: TcpProxy

    async def restart_client(self) -> None:
        """Begin with a client that has no failures behind it."""
        await end(self.scene.lab.client)
        await eventually(lambda: links(self.scene, 0))
        await self.scene.lab.start_client([SERVER, OTHER])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wire() -> AsyncIterator[Wire]:
    hasty = {"limits.ping_interval": "1s", "limits.ping_deadline": "1s"}
    limits = {**hasty, "limits.resume_seconds": "0s"}
    async with TcpProxy() as proxy, open_scene(limits, via=proxy, links=1) as scene:
        yield Wire(scene, proxy)


@pytest_asyncio.fixture(loop_scope="module")
async def fresh(wire: Wire) -> Wire:
    await wire.restart_client()
    wire.scene.upstream.seen.clear()
    return wire


async def links(scene: Scene, count: int) -> bool:
    return bool((await scene.ready())["links"] == count)


@dataclass
class Running:
    """Calls in every phase, as their agents and the upstream see them."""

    replies: dict[str, Reply]
    seen: dict[str, Seen]


@asynccontextmanager
async def running(scene: Scene) -> AsyncIterator[Running]:
    """Have one call before its head, one mid body, one mid stream, and one of the legacy era."""
    async with AsyncExitStack() as stack:
        replies, seen = {}, {}
        for number, phase in enumerate(("waiting", "body", "stream", "legacy")):
            message = call("driven", id=number, case=phase, modern=phase != "legacy")
            replies[phase] = await stack.enter_async_context(scene.agent.open(message))
            seen[phase] = await scene.upstream.arrived(phase)
        await seen["body"].head(200, [("Content-Type", "application/json")], 1000)
        await seen["body"].chunk(b'{"jsonrpc":"2.0",')
        await replies["body"].text(b"jsonrpc")
        await seen["stream"].event_stream()
        await seen["stream"].event({"n": 1})
        await replies["stream"].text(b'"n"')
        yield Running(replies, seen)


async def each_is_answered_once(calls: Running) -> None:
    """Check what every agent is told after the client or its link was lost."""
    for number, phase in ((0, "waiting"), (3, "legacy")):
        reply = await calls.replies[phase].end()
        assert reply.status == 502
        assert reply.error["id"] == number
        assert not -32768 <= reply.error["code"] <= -32000
        assert reply.error["data"] == UNKNOWN
        assert "the link to the private side was lost" in reply.error["message"]
    await calls.replies["stream"].end()
    last = calls.replies["stream"].events[-1]
    assert (last["id"], last["error"]["data"]) == (2, UNKNOWN)
    cut = await calls.replies["body"].broken()
    assert not cut.whole


def each_ran_once(scene: Scene, calls: Running) -> None:
    for phase in calls.seen:
        assert len(scene.upstream.calls(phase)) == 1, phase


async def test_a_cut_cable(fresh: Wire) -> None:
    scene, proxy = fresh.scene, fresh.proxy
    async with running(scene) as calls:
        before = proxy.taken
        proxy.cut()
        await each_is_answered_once(calls)
        for seen in calls.seen.values():
            await scene.upstream.until(seen.closed.is_set)
        await eventually(lambda: proxy.taken > before)
        await scene.linked()
        each_ran_once(scene, calls)
    await scene.serves()


async def test_a_killed_client(fresh: Wire) -> None:
    scene = fresh.scene
    async with running(scene) as calls:
        await kill(scene.lab.client)
        await each_is_answered_once(calls)
        await scene.lab.start_client([SERVER, OTHER])
        each_ran_once(scene, calls)
    await scene.serves()


async def test_a_killed_relay(fresh: Wire) -> None:
    scene = fresh.scene
    async with running(scene) as calls:
        await kill(scene.lab.relay)
        for reply in calls.replies.values():
            assert not (await reply.broken()).whole
        for seen in calls.seen.values():
            await scene.upstream.until(seen.closed.is_set)
        await scene.lab.start_relay()
        await scene.linked()
        each_ran_once(scene, calls)
    await scene.serves()


async def test_a_client_that_stands_still(fresh: Wire) -> None:
    scene = fresh.scene
    assert scene.lab.client is not None
    async with running(scene) as calls:
        os.killpg(scene.lab.client.pid, signal.SIGSTOP)
        try:
            await each_is_answered_once(calls)
        finally:
            os.killpg(scene.lab.client.pid, signal.SIGCONT)
        await scene.linked()
        each_ran_once(scene, calls)
    assert scene.lab.client.returncode is None
    assert "the peer did not answer a ping for" in scene.log("relay.log")
    await scene.serves()


async def test_a_network_that_swallows_everything(fresh: Wire) -> None:
    scene, proxy = fresh.scene, fresh.proxy
    async with running(scene) as calls:
        proxy.stall()
        try:
            await each_is_answered_once(calls)
            for seen in calls.seen.values():
                await scene.upstream.until(seen.closed.is_set)
        finally:
            proxy.resume()
        await scene.linked()
        each_ran_once(scene, calls)
    await scene.serves()


async def test_an_answer_that_was_whole_before_the_cut_stays_whole(fresh: Wire) -> None:
    scene = fresh.scene
    size = 8 * 1024 * 1024
    async with scene.agent.open(call("big", bytes=size)) as reply:
        await reply.head()
        await scene.serves()
        fresh.proxy.cut()
        await reply.broken_or_whole()
    got = len(b"".join(reply.chunks))
    assert reply.whole == (got == size)


async def test_a_call_made_while_disconnected_is_answered_when_the_client_returns(
    fresh: Wire,
) -> None:
    scene, proxy = fresh.scene, fresh.proxy
    proxy.refusing = True
    try:
        proxy.cut()
        await eventually(lambda: links(scene, 0))
        async with AsyncExitStack() as stack:
            held = [
                await stack.enter_async_context(scene.agent.open(call("echo", case=f"held-{n}")))
                for n in range(20)
            ]
            # By now the relay has read those calls: it answers what came after them.
            assert (await scene.ready())["links"] == 0
            proxy.refusing = False
            for reply in held:
                assert (await reply.end()).status == 200, reply.body
    finally:
        proxy.refusing = False
    assert sorted(str(seen.case) for seen in scene.upstream.seen) == sorted(
        f"held-{n}" for n in range(20)
    )


async def test_a_call_nobody_can_take_is_turned_away_after_a_while(fresh: Wire) -> None:
    scene = fresh.scene
    await end(scene.lab.client)
    await eventually(lambda: links(scene, 0))
    gone = asyncio.create_task(an_agent_that_leaves(scene))
    modern, legacy = await asyncio.gather(
        scene.agent.ask(call("echo", id="m")),
        scene.agent.ask(call("echo", id=9, modern=False)),
    )
    await gone
    for reply, message_id in ((modern, "m"), (legacy, 9)):
        assert reply.status == 503
        assert int(reply.values("retry-after")[0]) > 0
        assert reply.error["id"] == message_id
        assert reply.error["data"] == NEVER_SENT
    await scene.lab.start_client([SERVER, OTHER])
    await scene.serves()
    assert [seen.case for seen in scene.upstream.seen] == ["still-serves"]


async def an_agent_that_leaves(scene: Scene) -> None:
    """Make a call that has to wait, and do not wait for it."""
    async with scene.agent.open(call("echo", case="left")):
        await scene.ready()


async def test_a_session_revoked_while_its_call_waits_is_refused_when_the_client_returns(
    fresh: Wire,
) -> None:
    scene = fresh.scene
    grant = await scene.grant()
    await end(scene.lab.client)
    await eventually(lambda: links(scene, 0))
    async with grant.agent.open(call("echo", case="revoked-waiting")) as reply:
        await scene.lab.relay_json("session", "revoke", grant.id)
        await scene.lab.start_client([SERVER, OTHER])
        assert (await reply.end()).status == 401
    await scene.serves()
    assert scene.upstream.calls("revoked-waiting") == []


async def test_an_upstream_that_is_not_there_is_named_as_never_reached(fresh: Wire) -> None:
    scene = fresh.scene
    absent = await scene.grant("nonesuch")
    with anyio.fail_after(30):
        reply = await absent.agent.ask(call("echo", id=5))
    assert reply.status == 503
    assert (reply.error["id"], reply.error["data"]) == (5, NEVER_SENT)
    await scene.serves()


async def test_links_cut_over_and_over_lose_no_call_silently(fresh: Wire) -> None:
    scene, proxy = fresh.scene, fresh.proxy
    answers: list[int] = []
    stop = asyncio.Event()

    async def calls(worker: int) -> None:
        for number in range(1000):
            if stop.is_set():
                return
            case = f"{worker}-{number}"
            async with scene.agent.open(call("echo", case=case)) as reply:
                await reply.broken_or_whole()
            answers.append(reply.status)
            ran = len(scene.upstream.calls(case))
            assert ran <= 1
            if reply.status == 200:
                # Whole, or visibly cut when the head was out already.
                assert ran == 1
            else:
                assert reply.whole
                assert reply.status in (502, 503)
                assert ran == 0 or reply.error["data"]["delivery"] == "unknown"

    with anyio.fail_after(60):
        workers = [asyncio.create_task(calls(worker)) for worker in range(4)]
        for _ in range(3):
            goal = len(answers) + 40
            while len(answers) < goal:  # noqa: ASYNC110 - bounded above
                await asyncio.sleep(0.01)
            proxy.cut()
        stop.set()
        await asyncio.gather(*workers)
    await scene.linked()
    await scene.serves()


async def kill(process: Program | None) -> None:
    assert process is not None
    os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def test_what_ended_while_a_client_was_away_ends_there_when_it_is_back() -> None:
    """S07, S15: a revocation that a client did not hear is not forgotten."""
    once = {"limits.resume_seconds": "0s"}
    async with TcpProxy() as proxy, open_scene(once, via=proxy, links=1) as scene:
        grant = await scene.grant()
        assert (await grant.agent.ask(initialize())).status == 200
        assert len(scene.upstream.sessions) == 1
        proxy.refusing = True
        proxy.cut()
        await scene.linked(0)
        report = await scene.lab.relay_json("session", "revoke", grant.id)
        assert report["cut"]["links"] == 0
        assert len(scene.upstream.sessions) == 1
        proxy.refusing = False
        await scene.upstream.until(lambda: not scene.upstream.sessions)
