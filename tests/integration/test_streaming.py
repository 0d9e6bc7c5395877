"""Answers pass as they come: event by event, byte for byte, and end when their reader does."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import pytest

from tests.helpers.agent import Agent, Reply, call, initialize
from tests.helpers.recording_upstream import Seen, big_body
from tests.integration.scene import Scene, eventually

pytestmark = [
    pytest.mark.system,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.usefixtures("clean"),
]

MIB = 1024 * 1024


@asynccontextmanager
async def driven(
    scene: Scene, case: str, *, modern: bool = True
) -> AsyncIterator[tuple[Reply, Seen]]:
    """Make a call whose answer the test drives."""
    async with scene.agent.open(call("driven", case=case, modern=modern)) as reply:
        yield reply, await scene.upstream.arrived(case)


@asynccontextmanager
async def listening(scene: Scene) -> AsyncIterator[tuple[Reply, Seen, Agent]]:
    """Open a GET stream of a fresh MCP session."""
    began = await scene.agent.ask(initialize())
    headers = [("Mcp-Session-Id", began.values("mcp-session-id")[0])]
    headers.append(("MCP-Protocol-Version", "2025-11-25"))
    async with scene.agent.open(method="GET", headers=headers) as reply:
        yield reply, (await scene.upstream.streams())[-1], scene.agent


def event(number: int) -> dict[str, object]:
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"n": number}}


async def arrives(reply: Reply, document: object) -> None:
    """Wait until an event came."""
    await reply.until(lambda: document in reply.events)


async def test_the_head_and_a_first_byte_come_before_any_event(scene: Scene) -> None:
    async with driven(scene, "head-first") as (reply, seen):
        await seen.event_stream()
        await reply.head()
        assert reply.status == 200
        assert reply.values("content-type") == ["text/event-stream"]
        assert reply.values("x-accel-buffering") == ["no"]
        assert reply.values("cache-control") == ["no-store"]
        assert (await reply.text(b":")).startswith(b":\n\n")
        assert reply.events == []


@pytest.mark.parametrize("modern", [True, False])
async def test_each_event_is_seen_before_the_next_is_sent(scene: Scene, modern: bool) -> None:
    async with driven(scene, f"lock-step-{modern}", modern=modern) as (reply, seen):
        await seen.event_stream()
        for number in range(50):
            await seen.event(event(number))
            await arrives(reply, event(number))
        await seen.event({"jsonrpc": "2.0", "id": 1, "result": {}})
        await seen.end()
        await reply.end()
        assert reply.events == [event(n) for n in range(50)] + [
            {"jsonrpc": "2.0", "id": 1, "result": {}}
        ]


async def test_events_of_a_get_stream_pass_the_same_way(scene: Scene) -> None:
    async with listening(scene) as (reply, seen, _):
        await seen.event_stream()
        for number in range(10):
            await seen.event(event(number))
            await arrives(reply, event(number))


async def test_comments_stand_between_events_and_never_inside_one(scene: Scene) -> None:
    async with driven(scene, "comments") as (reply, seen):
        await seen.event_stream()
        await seen.chunk(b'event: message\ndata: {"half":')
        await reply.text(b'"half":')
        # A stream that keeps quiet at a boundary gets a comment meanwhile: the time has come.
        async with driven(scene, "comments-beside") as (beside, other):
            await other.event_stream()
            await beside.until(lambda: b"".join(beside.chunks).count(b":\n\n") >= 2)
        await seen.chunk(b"1}\n\n")
        said = await reply.text(b'{"half":1}\n\n')
        assert b'data: {"half":1}\n\n' in said
        await reply.until(lambda: b"".join(reply.chunks).endswith(b'{"half":1}\n\n:\n\n'))


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_of_16_mib_arrives_byte_for_byte(scene: Scene, chunked: bool) -> None:
    size = 16 * MIB
    reply = await scene.agent.ask(call("big", bytes=size, chunked=chunked, id="big"))
    assert len(reply.body) == size
    assert hashlib.sha256(reply.body).digest() == hashlib.sha256(big_body("big", size)).digest()
    assert reply.values("content-length") == ([] if chunked else [str(size)])


@pytest.mark.parametrize("size", [0, 1, 65_527, 65_528, 65_529, 131_072, 262_144, 262_145])
async def test_bodies_around_the_edges_of_frames_and_windows_are_whole(
    scene: Scene, size: int
) -> None:
    body = "x" * size
    reply = await scene.agent.ask(call("status", status=200, body=body))
    assert reply.body == body.encode()
    assert reply.values("content-length") == [str(size)]


@pytest.mark.parametrize("status", [200, 201, 202, 204, 400, 401, 404, 409, 418, 429, 500, 503])
async def test_the_upstreams_status_and_body_pass_unchanged(scene: Scene, status: int) -> None:
    body = "" if status == 204 else f"words of the upstream about {status}"
    reply = await scene.agent.ask(call("status", status=status, body=body))
    assert (reply.status, reply.body) == (status, body.encode())
    assert reply.values("x-kept") == ["yes"]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_of_the_upstream_is_not_passed_on(scene: Scene, status: int) -> None:
    async with driven(scene, f"redirect-{status}") as (reply, seen):
        await seen.answer(status, b"over there", [("Location", "http://private.example/")])
        await reply.end()
    assert reply.status == 502
    assert b"private" not in reply.body
    assert not reply.values("location")
    assert reply.error["data"]["delivery"] == "unknown"


@pytest.mark.parametrize("phase", ["before the head", "mid stream"])
async def test_a_modern_agent_that_leaves_cancels_its_call(scene: Scene, phase: str) -> None:
    async with driven(scene, f"leaves {phase}") as (reply, seen):
        if phase == "mid stream":
            await seen.event_stream()
            await seen.event(event(1))
            await reply.text(b"progress")
    await scene.upstream.until(seen.closed.is_set)
    await scene.serves()


@pytest.mark.parametrize("phase", ["before the head", "mid stream"])
async def test_a_legacy_agent_that_leaves_lets_its_call_run_on(scene: Scene, phase: str) -> None:
    async with driven(scene, f"runs on {phase}", modern=False) as (reply, seen):
        if phase == "mid stream":
            await seen.event_stream()
            await seen.event(event(1))
            await reply.text(b"progress")
    # What follows crosses the same link later, so the relay knows by then that the agent left.
    await scene.serves()
    assert not seen.closed.is_set()
    if phase == "mid stream":
        await seen.chunk(b": " + b"x" * MIB + b"\n\n")
        await seen.event({"jsonrpc": "2.0", "id": 1, "result": {}})
        await seen.end()
    else:
        await seen.result({"done": True})
    await eventually(lambda: nothing_runs(scene))
    assert not seen.closed.is_set()
    await scene.serves()


async def test_a_get_stream_ends_with_its_agent(scene: Scene) -> None:
    async with listening(scene) as (reply, seen, _):
        await seen.event_stream()
        await reply.text(b":")
    await scene.upstream.until(seen.closed.is_set)
    await eventually(lambda: nothing_runs(scene))


async def test_a_slow_reader_holds_only_its_own_stream(scene: Scene) -> None:
    size = 32 * MIB
    async with AsyncExitStack() as slow:
        replies = []
        for number in range(3):
            sent = call("big", bytes=size, case=f"slow-{number}")
            reply = await slow.enter_async_context(scene.agent.open(sent))
            await reply.head()
            reply.transport.pause_reading()
            replies.append(reply)
        for _ in range(200):
            await scene.serves()
        assert len(scene.upstream.calls("still-serves")) == 200
        assert not any(reply.whole for reply in replies)
        for reply in replies:
            reply.transport.resume_reading()
            await reply.end()
            assert hashlib.sha256(reply.body).digest() == hashlib.sha256(big_body(1, size)).digest()


async def test_many_streams_at_once_keep_their_events_apart(scene: Scene) -> None:
    cases = [f"apart-{number}" for number in range(40)]

    async def follow(case: str) -> list[object]:
        async with scene.agent.open(call("driven", case=case)) as reply:
            seen = await scene.upstream.arrived(case)
            await seen.event_stream()
            for number in range(20):
                await seen.event({"case": case, "n": number})
                await asyncio.sleep(0)
            await seen.end()
            await reply.end()
            return reply.events

    with anyio.fail_after(60):
        found = await asyncio.gather(*map(follow, cases))
    assert found == [[{"case": case, "n": n} for n in range(20)] for case in cases]


async def test_an_upstream_that_breaks_mid_stream_ends_it_with_an_error_event(
    scene: Scene,
) -> None:
    async with driven(scene, "breaks") as (reply, seen):
        await seen.event_stream()
        await seen.event(event(1))
        await reply.text(b"progress")
        seen.cut()
        await reply.end()
    last = reply.events[-1]
    assert last["id"] == 1
    assert last["error"]["data"] == {"origin": "relay", "delivery": "unknown"}
    await scene.serves()


async def test_an_upstream_that_breaks_inside_an_event_leaves_a_cut_body(scene: Scene) -> None:
    async with driven(scene, "breaks-inside") as (reply, seen):
        await seen.event_stream()
        await seen.chunk(b'data: {"cut":')
        await reply.text(b'"cut"')
        seen.cut()
        await reply.broken()
    assert not reply.whole
    assert b"error" not in reply.body
    await scene.serves()


async def test_a_json_body_that_breaks_is_never_ended_as_if_whole(scene: Scene) -> None:
    for length in (1000, None):
        case = f"short-{length}"
        async with driven(scene, case) as (reply, seen):
            await seen.head(200, [("Content-Type", "application/json")], length)
            await seen.chunk(json.dumps({"half": "x" * 100}).encode())
            await reply.text(b"half")
            seen.cut()
            await reply.broken()
        assert not reply.whole
    await scene.serves()


async def test_an_upstream_that_breaks_before_its_head_leaves_an_error(scene: Scene) -> None:
    async with driven(scene, "no-head") as (reply, seen):
        seen.cut()
        await reply.end()
    assert reply.status == 502
    assert reply.error["id"] == 1
    assert reply.error["data"] == {"origin": "relay", "delivery": "unknown"}
    assert len(scene.upstream.calls("no-head")) == 1


async def nothing_runs(scene: Scene) -> bool:
    return bool((await scene.ready())["streams"] == 0)
