"""What servers send is judged too, in each era: their lists, and what they ask of agents."""

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import pytest_asyncio

from tests.helpers.agent import Reply, call, request
from tests.helpers.recording_upstream import Seen
from tests.helpers.tunnel import Lab, StdioUpstream, make_lab
from tests.integration.policies import CLASSES, POLICY, RELAY_POLICY, TOOLS, Desk, open_desk, tool
from tests.integration.scene import SERVER, grant
from tests.integration.test_mcp_sessions import begin, named
from tests.integration.test_policy import is_denied, modern

__all__ = ["modern"]
pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

STDIO = Path(__file__).parents[1] / "helpers" / "stdio_server.py"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk() -> AsyncIterator[Desk]:
    async with open_desk(None, "carol", "dave") as made:
        yield made


# Lists ------------------------------------------------------------------------------------------


@pytest.fixture
def held(desk: Desk) -> Any:
    desk.upstream.hold.add("tools/list")
    yield
    desk.upstream.hold.discard("tools/list")


async def next_list(desk: Desk, name: str) -> Seen:
    """Return the agent's request of a list; the client asks for lists of its own."""

    def found() -> list[Seen]:
        return [seen for seen in desk.upstream.seen if seen.document.get("id") == name]

    await desk.upstream.until(found)
    return found()[0]


def result_of(seen: Seen, **more: Any) -> dict[str, Any]:
    many = [tool(f"unpinned_{at}", description="x" * 1000) for at in range(200)]
    result = {"tools": [*many, *TOOLS], **more}
    return {"jsonrpc": "2.0", "id": seen.document["id"], "result": result}


def names(document: Any) -> list[str]:
    return [each["name"] for each in document["result"]["tools"]]


SHOWN = [name for name in CLASSES if name != "purge"]


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("events", [True, False])
async def test_a_list_is_filtered_however_it_comes(desk: Desk, modern: bool, events: bool) -> None:
    """P33: and is no longer for everybody; its announced length is not that of what goes on."""
    name = f"list-{modern}-{events}"
    async with desk.scene.agent.open(request("tools/list", id=name, modern=modern)) as reply:
        seen = await next_list(desk, name)
        document = result_of(seen, cacheScope="public")
        if events:
            await seen.event_stream()
            await seen.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": {}})
            await reply.text(b"progress")
            await seen.event(document)
        else:
            body = json.dumps(document).encode()
            await seen.head(200, [("Content-Type", "application/json")], len(body))
            for at in range(0, len(body), 50_000):
                await seen.chunk(body[at : at + 50_000])
                await anyio.lowlevel.checkpoint()
        await seen.end()
        await reply.end()
    shown = reply.events[-1] if events else reply.document
    assert names(shown) == SHOWN
    assert shown["result"]["cacheScope"] == "private"


@pytest.mark.usefixtures("held")
async def test_what_a_server_says_instead_of_a_list_is_passed_on(desk: Desk, modern: bool) -> None:
    name = f"instead-{modern}"
    async with desk.scene.agent.open(request("tools/list", id=name, modern=modern)) as reply:
        seen = await next_list(desk, name)
        await seen.answer(503, b"<h1>not now</h1>", [("Content-Type", "text/html")])
        await reply.end()
    assert (reply.status, reply.body) == (503, b"<h1>not now</h1>")


async def test_a_list_in_a_stream_that_is_resumed_is_filtered(desk: Desk) -> None:
    """P33."""
    name = await begin(desk.scene.agent)
    before = len([seen for seen in desk.upstream.seen if seen.method == "GET"])
    headers = [*named(name), ("Last-Event-ID", "7"), ("Accept", "text/event-stream")]
    async with desk.scene.agent.open(method="GET", headers=headers) as reply:
        seen = (await desk.upstream.streams(before + 1))[-1]
        assert seen.values("last-event-id") == ["7"]
        await seen.event_stream()
        document = {"jsonrpc": "2.0", "id": 3, "result": {"tools": TOOLS}}
        await seen.event(document)
        await reply.text(b"get_ticket")
        assert names(reply.events[-1]) == SHOWN
        await desk.take("client", RELAY_POLICY)
        await seen.event(document | {"id": 4})
        await reply.text(b'"id": 4')
        assert names(reply.events[-1]) == list(CLASSES), "a stream follows the policy"
        await seen.end()
    await desk.take("client", POLICY)


# What upstreams ask of agents: L17 --------------------------------------------------------------

SAMPLE: dict[str, Any] = {"jsonrpc": "2.0", "id": "s1", "method": "sampling/createMessage"}
SAMPLE["params"] = {"messages": [], "maxTokens": 10}


def refusals(desk: Desk, message_id: Any) -> list[Seen]:
    """Return the errors that the upstream was sent for its own request."""
    return [
        seen
        for seen in desk.upstream.seen
        if seen.document.get("id") == message_id and "error" in seen.document
    ]


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_legacy_server_is_told_that_it_may_not_ask(desk: Desk, method: str) -> None:
    """L17: on its own MCP session, and the agent hears nothing of it."""
    agent, case = desk.scene.agent, f"asks-{method}"
    name, asked = await begin(agent), SAMPLE | {"id": f"s-{method}"}
    before = len([seen for seen in desk.upstream.seen if seen.method == "GET"])
    message = call("get_ticket", modern=False, case=case, text="driven")
    headers = named(name)
    if method == "GET":
        headers = [*headers, ("Accept", "text/event-stream")]
    desk.upstream.driven.add("get_ticket")
    async with agent.open(
        message if method == "POST" else None, method=method, headers=headers
    ) as reply:
        if method == "POST":
            seen = await desk.upstream.arrived(case)
        else:
            seen = (await desk.upstream.streams(before + 1))[-1]
        await seen.event_stream()
        await seen.event(asked)
        await desk.upstream.until(lambda: refusals(desk, asked["id"]))
        await seen.event({"jsonrpc": "2.0", "id": 1, "result": {"content": []}})
        await reply.text(b'"result"')
        await seen.end()
    desk.upstream.driven.discard("get_ticket")
    assert b"sampling" not in b"".join(reply.chunks)
    (told,) = refusals(desk, asked["id"])
    assert told.document["error"] == {"code": -32601, "message": "denied by policy"}
    assert told.values("mcp-session-id") == seen.values("mcp-session-id") != []
    assert "denied_to_upstream" in desk.scene.log("client.log")


@pytest.mark.parametrize("events", [True, False])
@pytest.mark.parametrize("asks", ["", "sampling/createMessage, elicitation/create, roots/list"])
async def test_a_list_in_the_answer_to_another_request_is_filtered(
    desk: Desk, events: bool, asks: str
) -> None:
    """P10: agents match answers by their id, whatever brought them, and whatever may be asked."""
    case = f"slipped-{events}-{bool(asks)}"
    rule = f"  - {{id: asks, match: {{method: [{asks}]}}, effect: allow}}\n" if asks else ""
    await desk.take("client", POLICY + rule)
    slipped = {"jsonrpc": "2.0", "id": 77, "result": {"tools": [tool("slipped_in"), *TOOLS]}}
    desk.upstream.driven.add("get_ticket")
    async with desk.scene.agent.open(call("get_ticket", case=case)) as reply:
        seen = await desk.upstream.arrived(case)
        if events:
            await seen.event_stream()
            await seen.event(slipped)
            await seen.event({"jsonrpc": "2.0", "id": 1, "result": {"content": []}})
            await seen.end()
        else:
            await seen.result(slipped["result"])
        whole = await reply.end()
    desk.upstream.driven.discard("get_ticket")
    assert b"get_ticket" in whole.body
    assert b"slipped_in" not in whole.body


async def test_a_program_is_told_that_it_may_not_ask() -> None:
    """L17: over stdio."""
    child = StdioUpstream((sys.executable, "-S", str(STDIO)), STDIO.parent)
    tools = 'version: 1\nrules:\n  - {id: a, match: {tool: "*"}, effect: allow}\n'

    def prepare(lab: Lab) -> None:
        lab.policy = tools

    async with make_lab({SERVER: child}, prepare=prepare) as lab:
        agent = (await grant(lab)).agent
        name = await begin(agent)

        async def use(tool: str, **arguments: Any) -> Reply:
            message = call(tool, id=tool, modern=False, **arguments)
            return await agent.ask(message, headers=named(name))

        assert b"roots/list" not in (asked := await use("ask", count=2)).body
        assert asked.events[-1]["result"]["content"][0]["text"] == "asked"
        told = json.loads((await use("seen_so_far")).events[-1]["result"]["content"][0]["text"])
    refused = {"code": -32601, "message": "denied by policy"}
    assert [(one["id"], one["error"]) for one in told["answers"]] == [
        ("ask-0", refused),
        ("ask-1", refused),
    ]


async def test_a_server_may_ask_what_a_rule_allows(desk: Desk) -> None:
    """L17."""
    rule = "  - {id: asks, match: {method: sampling/createMessage}, effect: allow}\n"
    await desk.take("client", POLICY + rule)
    name = await begin(desk.scene.agent)
    message = call("get_ticket", modern=False, case="may-ask")
    desk.upstream.driven.add("get_ticket")
    async with desk.scene.agent.open(message, headers=named(name)) as reply:
        seen = await desk.upstream.arrived("may-ask")
        await seen.event_stream()
        await seen.event(SAMPLE)
        await reply.text(b"sampling/createMessage")
        answer = {"jsonrpc": "2.0", "id": "s1", "result": {"role": "assistant"}}
        told = await desk.scene.agent.ask(answer, headers=named(name))
        assert told.status == 202
        await seen.end()
    desk.upstream.driven.discard("get_ticket")
    assert refusals(desk, "s1") == []
    await desk.take("client", POLICY)


async def test_a_modern_server_may_not_ask_either(desk: Desk) -> None:
    """L17."""
    page = {"method": "elicitation/create", "params": {"mode": "url", "url": "https://evil.test"}}
    desk.upstream.driven.add("get_ticket")

    async def ask(case: str) -> Reply:
        async with desk.scene.agent.open(call("get_ticket", case=case)) as reply:
            seen = await desk.upstream.arrived(case)
            await seen.result({"resultType": "input_required", "inputRequests": {"q": page}})
            return await reply.end()

    assert is_denied(await ask("modern-asks"))
    rule = "  - {id: asks, match: {method: elicitation/create}, effect: allow}\n"
    await desk.take("client", POLICY + rule)
    allowed = await ask("modern-may-ask")
    assert allowed.document["result"]["inputRequests"] == {"q": page}
    desk.upstream.driven.discard("get_ticket")
    await desk.take("client", POLICY)
