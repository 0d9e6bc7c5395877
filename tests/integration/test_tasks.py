"""Tasks and request states serve the session that they were handed to, and nobody else."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.helpers.agent import LEGACY, Agent, Message, Reply, call, initialize, request
from tests.helpers.tunnel import end
from tests.integration.scene import OTHER, SERVER, Grant, Scene, open_scene

pytestmark = [
    pytest.mark.system,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.usefixtures("clean"),
]

NOT_FOUND = "Failed to retrieve task: Task not found"
BAD_STATE = "Invalid or expired requestState"
EXTENSION = "io.modelcontextprotocol/tasks"
RELATED = "io.modelcontextprotocol/related-task"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
ON_TASK = ("tasks/get", "tasks/result", "tasks/cancel")


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def _plain(scene: Scene) -> AsyncIterator[None]:
    before = dict(scene.upstream.results)
    yield
    scene.upstream.results = before


def declared(message: Message) -> Message:
    """Let a request take a task for an answer."""
    message["params"]["_meta"][CAPABILITIES] = {"extensions": {EXTENSION: {}}}
    return message


async def answered(scene: Scene, agent: Agent, message: Message, result: Any, **how: Any) -> Reply:
    """Make a call that the upstream answers so; `events`: in an event stream."""
    case = message["params"]["arguments"]["case"]
    before = len(scene.upstream.calls(case))
    async with agent.open(message) as reply:
        seen = await scene.upstream.arrived(case, before + 1)
        if how.get("events"):
            await seen.event_stream()
            await seen.event({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
            await seen.event({"jsonrpc": "2.0", "id": seen.document["id"], "result": result})
            await seen.end()
        else:
            await seen.result(result)
        return await reply.end()


async def begin_legacy(scene: Scene, agent: Agent, task: str, **how: Any) -> Reply:
    """Begin a task of the legacy era."""
    message = call("driven", modern=False, case=f"begin-{task}")
    message["params"]["task"] = {"ttl": 60000}
    made = {"task": {"taskId": task, "status": "working"}}
    return await answered(scene, agent, message, made, **how)


async def begin_modern(scene: Scene, agent: Agent, task: str, **how: Any) -> Reply:
    """Begin a task of the modern extension."""
    message = declared(call("driven", case=f"begin-{task}"))
    made = {"resultType": "task", "taskId": task, "status": "working"}
    return await answered(scene, agent, message, made, **how)


def on_task(method: str, task: Any, *, modern: bool = False) -> Message:
    """Ask for something of a task."""
    made = request(method, {"taskId": task}, id="q", modern=modern)
    return declared(made) if modern else made


async def unknown(scene: Scene, agent: Agent, message: Message, modern: bool = False) -> None:
    """See that a request is answered as for a task that never was, and goes nowhere."""
    seen = len(scene.upstream.seen)
    reply = await agent.ask(message)
    assert reply.status == (400 if modern else 200)
    assert reply.error == {"id": message["id"], "code": -32602, "message": NOT_FOUND}
    assert len(scene.upstream.seen) == seen


async def strangers(scene: Scene) -> list[Grant]:
    """Another user, another agent, another server."""
    return [
        await scene.grant(user="eve"),
        await scene.grant(agent="another"),
        await scene.grant(OTHER),
    ]


@pytest.mark.parametrize("events", [False, True])
async def test_s21_a_legacy_task_is_that_of_whoever_began_it(scene: Scene, events: bool) -> None:
    task = f"legacy-{events}"
    await begin_legacy(scene, scene.agent, task, events=events)
    for method in ON_TASK:
        assert (await scene.agent.ask(on_task(method, task))).document["result"] == {}
    for stranger in await strangers(scene):
        for method in ON_TASK:
            await unknown(scene, stranger.agent, on_task(method, task))
            await unknown(scene, stranger.agent, on_task(method, "never-was"))
    # The same user and agent, logged in again.
    again = await scene.grant()
    assert "result" in (await again.agent.ask(on_task("tasks/get", task))).document


@pytest.mark.parametrize("events", [False, True])
async def test_s21_a_modern_task_is_that_of_whoever_began_it(scene: Scene, events: bool) -> None:
    task = f"modern-{events}"
    await begin_modern(scene, scene.agent, task, events=events)
    for method in ("tasks/get", "tasks/update", "tasks/cancel"):
        own = await scene.agent.ask(on_task(method, task, modern=True))
        assert own.document["result"] == {}
        for stranger in await strangers(scene):
            await unknown(scene, stranger.agent, on_task(method, task, modern=True), True)
    listen = {"notifications": {"taskIds": [task]}}
    stranger = await scene.grant(user="eve")
    await unknown(scene, stranger.agent, request("subscriptions/listen", listen), True)


@pytest.mark.parametrize("odd", [None, 5, ["legacy"], "", {"a": 1}])
async def test_s21_what_is_no_id_is_unknown_too(scene: Scene, odd: Any) -> None:
    await unknown(scene, scene.agent, on_task("tasks/get", odd))


async def test_s21_nobody_speaks_into_the_task_of_another(scene: Scene) -> None:
    await begin_legacy(scene, scene.agent, "related")
    stranger = await scene.grant(user="eve")
    message = call("echo", modern=False, case="into")
    message["params"]["_meta"] = {RELATED: {"taskId": "related"}}
    await unknown(scene, stranger.agent, message)
    assert (await scene.agent.ask(message)).status == 200


async def test_s21_only_what_was_begun_is_bound(scene: Scene) -> None:
    """A result that looks like a task, to a call that could not begin one, binds nothing."""
    for message, result in (
        (call("driven", modern=False, case="not-asked"), {"task": {"taskId": "not-begun"}}),
        (call("driven", case="undeclared"), {"resultType": "task", "taskId": "not-begun"}),
        (declared(call("driven", case="within")), {"content": [{"taskId": "not-begun"}]}),
        (declared(call("driven", case="complete")), {"taskId": "not-begun"}),
    ):
        await answered(scene, scene.agent, message, result)
    await unknown(scene, scene.agent, on_task("tasks/get", "not-begun"))


async def test_s21_a_list_of_tasks_holds_the_sessions_own(scene: Scene) -> None:
    mine, theirs = await scene.grant(user="lou"), await scene.grant(user="eve")
    await begin_legacy(scene, mine.agent, "of-lou")
    await begin_legacy(scene, theirs.agent, "of-eve")
    listed = [{"taskId": task, "status": "working"} for task in ("of-lou", "of-eve", "x")]
    scene.upstream.results["tasks/list"] = {"tasks": [*listed, {"taskId": 1}], "nextCursor": "n"}
    for grant, own in ((mine, "of-lou"), (theirs, "of-eve"), (await scene.grant(user="al"), None)):
        reply = await grant.agent.ask(request("tasks/list", modern=False))
        result = reply.document["result"]
        assert result["nextCursor"] == "n"
        assert [task["taskId"] for task in result["tasks"]] == ([own] if own else [])


@pytest.mark.parametrize("events", [False, True])
async def test_s21_a_long_list_of_tasks_comes_in_pieces_and_is_cut_down_all_the_same(
    scene: Scene, events: bool
) -> None:
    mine = await scene.grant(user=f"long-{events}")
    await begin_legacy(scene, mine.agent, f"mine-{events}")
    tasks = [{"taskId": f"other-{at}", "statusMessage": "x" * 1000} for at in range(2000)]
    tasks.insert(1000, {"taskId": f"mine-{events}", "statusMessage": "y" * 300_000})
    scene.upstream.hold = {"tasks/list"}
    before = len(scene.upstream.seen)
    async with mine.agent.open(request("tasks/list", modern=False)) as reply:
        await scene.upstream.until(lambda: len(scene.upstream.seen) > before)
        seen = scene.upstream.seen[-1]
        scene.upstream.hold = set()
        document = {"jsonrpc": "2.0", "id": 1, "result": {"tasks": tasks}}
        if events:
            await seen.event_stream()
            await seen.event({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
            await reply.text(b"notifications/message")
            await seen.event(document)
            await seen.end()
        else:
            headers = [("Content-Type", "application/json")]
            await seen.answer(200, json.dumps(document).encode(), headers)
        await reply.end()
        listed = reply.events[-1] if events else reply.document
    assert [each["taskId"] for each in listed["result"]["tasks"]] == [f"mine-{events}"]


@pytest.mark.parametrize("events", [False, True])
async def test_a_list_of_tasks_that_is_too_long_to_be_held_does_not_pass(
    scene: Scene, events: bool
) -> None:
    scene.upstream.hold = {"tasks/list"}
    before = len(scene.upstream.seen)
    async with scene.agent.open(request("tasks/list", modern=False)) as reply:
        await scene.upstream.until(lambda: len(scene.upstream.seen) > before)
        seen = scene.upstream.seen[-1]
        scene.upstream.hold = set()
        await seen.head(200, [("Content-Type", "text/event-stream" if events else "text/json")])
        await seen.chunk(b'data: {"jsonrpc":"2.0","id":1,"result":{"tasks":[{"taskId":"x"},"')
        while not seen.closed.is_set():
            await seen.chunk(b"a" * 65536)
        await reply.broken_or_whole()
    assert b"taskId" not in reply.body
    if events:
        assert reply.events[-1]["error"]["data"]["delivery"] == "unknown"
    else:
        assert reply.status == 502


async def test_a_list_of_tasks_that_cannot_be_read_does_not_pass(scene: Scene) -> None:
    scene.upstream.results["tasks/list"] = {"tasks": {"taskId": "of-all"}}
    reply = await scene.agent.ask(request("tasks/list", modern=False))
    assert reply.status == 502
    assert b"of-all" not in reply.body


async def test_s21_a_stream_that_is_resumed_hides_and_binds_as_the_first_would(
    scene: Scene,
) -> None:
    mine = await scene.grant(user="ria")
    reply = await mine.agent.ask(initialize())
    named = [
        ("Mcp-Session-Id", reply.values("mcp-session-id")[0]),
        ("MCP-Protocol-Version", LEGACY),
    ]
    before = len(await scene.upstream.streams(0))
    async with mine.agent.open(method="GET", headers=[*named, ("Last-Event-ID", "1")]) as stream:
        seen = (await scene.upstream.streams(before + 1))[-1]
        await seen.event_stream()
        own = {"taskId": "resumed", "status": "working"}
        await seen.event({"jsonrpc": "2.0", "id": 1, "result": {"task": own}})
        other = {"taskId": "of-others", "status": "working"}
        await seen.event({"jsonrpc": "2.0", "id": 2, "result": {"tasks": [other, own]}})
        await stream.text(b'"id":2')
        assert [event["result"] for event in stream.events] == [{"task": own}, {"tasks": [own]}]
    assert "result" in (await mine.agent.ask(on_task("tasks/get", "resumed"))).document


async def test_a_task_survives_a_restart_of_the_relay() -> None:
    async with open_scene() as scene:
        await begin_legacy(scene, scene.agent, "long")
        await end(scene.lab.relay)
        await scene.lab.start_relay()
        await scene.linked()
        assert "result" in (await scene.agent.ask(on_task("tasks/get", "long"))).document
        stranger = await scene.grant(user="eve")
        await unknown(scene, stranger.agent, on_task("tasks/get", "long"))


# Request states ---------------------------------------------------------------------------------


async def handed(scene: Scene, agent: Agent, state: str, **how: Any) -> None:
    """Let the upstream ask for input, with a state."""
    asks = {"resultType": "input_required", "inputRequests": {}, "requestState": state}
    reply = await answered(scene, agent, call("driven", case=f"ask-{state}"), asks, **how)
    assert state.encode() in reply.body


def bringing(state: Any, tool: str = "driven", **more: Any) -> Message:
    """Try again with a state."""
    message = call(tool, id=2, case="again", **more)
    message["params"] |= {"requestState": state, "inputResponses": {}}
    return message


async def bad_state(scene: Scene, agent: Agent, message: Message) -> None:
    """See that a state is refused, and nothing forwarded."""
    seen = len(scene.upstream.seen)
    reply = await agent.ask(message)
    assert reply.error == {
        "id": 2,
        "code": -32602,
        "message": BAD_STATE,
        "data": {"reason": "invalid_request_state"},
    }
    assert len(scene.upstream.seen) == seen


@pytest.mark.parametrize("events", [False, True])
async def test_s20_a_state_goes_back_once_as_it_came(scene: Scene, events: bool) -> None:
    state = f"sealed-{events}"
    await handed(scene, scene.agent, state, events=events)
    await answered(scene, scene.agent, bringing(state), {"content": []})
    assert scene.upstream.calls("again")[-1].document["params"]["requestState"] == state
    await bad_state(scene, scene.agent, bringing(state))


async def test_s20_tampered_foreign_and_misplaced_states_go_nowhere(scene: Scene) -> None:
    await handed(scene, scene.agent, "mine")
    strange = [*await strangers(scene), await scene.grant()]
    for stranger in strange:
        await bad_state(scene, stranger.agent, bringing("mine"))
    for odd in ("mine-TAMPERED", "", 5, ["mine"], {"a": 1}):
        await bad_state(scene, scene.agent, bringing(odd))
    await handed(scene, scene.agent, "mine")
    await bad_state(scene, scene.agent, bringing("mine", tool="echo"))
    await bad_state(scene, scene.agent, bringing("mine"))


async def test_s20_of_many_that_bring_one_state_one_gets_through(scene: Scene) -> None:
    await handed(scene, scene.agent, "raced")
    replies: list[int] = []
    async with scene.agent.open(bringing("raced")) as first:
        seen = await scene.upstream.arrived("again")
        for _ in range(5):
            replies.append((await scene.agent.ask(bringing("raced"))).status)
        await seen.result({})
        await first.end()
    assert replies == [400] * 5


async def test_a_state_of_a_call_that_was_never_sent_is_still_good() -> None:
    async with open_scene({"limits.wait_for_client": "1s"}) as scene:
        await handed(scene, scene.agent, "kept")
        await end(scene.lab.client)
        await scene.linked(0)
        reply = await scene.agent.ask(bringing("kept"))
        assert reply.status == 503
        await scene.lab.start_client([SERVER])
        await answered(scene, scene.agent, bringing("kept"), {"content": []})


# Reserved ---------------------------------------------------------------------------------------


async def test_h29_reserved_keys_and_endless_traces_go_nowhere(scene: Scene) -> None:
    for key, value in (
        ("mcp-tunnel/session", "x"),
        ("traceparent", "0" * 129),
        ("tracestate", "a" * 513),
        ("baggage", "a" * 8193),
    ):
        message = call("echo", case="reserved")
        message["params"]["_meta"][key] = value
        reply = await scene.agent.ask(message)
        assert (reply.status, reply.error["code"], reply.error["id"]) == (400, -32602, 1)
    for name, size in (("traceparent", 129), ("tracestate", 513)):
        reply = await scene.agent.ask(call("echo", case="reserved"), headers=[(name, "a" * size)])
        assert (reply.status, reply.error["code"]) == (400, -32602)
    assert scene.upstream.calls("reserved") == []
