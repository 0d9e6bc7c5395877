"""The client's log against what its upstream saw: real programs, real files, real faults."""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.helpers.agent import call, initialize, request
from tests.helpers.audit_log import Record, holding, records
from tests.helpers.tunnel import Lab, end
from tests.integration.policies import TOOLS, desk_upstream, open_desk
from tests.integration.scene import OTHER, SERVER, Scene, eventually, open_scene

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

CANARY = "canary-7d1f0c9ab2e4"
POLICY = """\
version: 1
rules:
  - {id: readers, match: {class: [read, draft]}, effect: allow}
  - {id: writers, match: {tool: [open_ticket, driven]}, effect: allow}
  - {id: others, match: {method: ["prompts/*", "resources/*", "completion/*"]}, effect: allow}
"""


def folder(scene: Scene) -> Path:
    return scene.lab.folder / "client" / "state" / "audit"


def of_case(scene: Scene, kind: str, call_id: str) -> list[Record]:
    return [each for each in records(folder(scene), kind) if each["call"] == call_id]


def intent_of(scene: Scene, body: bytes) -> Record:
    """Return the intent of the request with this body."""
    digest = hashlib.sha256(body).hexdigest()
    (found,) = [each for each in records(folder(scene), "call.intent") if each["body"] == digest]
    return found


def pinned(lab: Lab) -> None:
    lab.pinned = True
    lab.policy = POLICY


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene() -> AsyncIterator[Scene]:
    upstream = desk_upstream({**TOOLS[0], "name": "driven"})
    async with open_scene(prepare=pinned, upstream=upstream) as opened:
        for name, tool_class in (("get_ticket", "read"), ("open_ticket", "write")):
            for server in (SERVER, OTHER):
                await opened.lab.client_command("tool", "classify", server, name, tool_class)
        await opened.lab.client_command("tool", "classify", SERVER, "driven", "write")
        yield opened


@pytest.mark.parametrize("tool", ["get_ticket", "open_ticket"])
async def test_a_call_has_its_intent_before_and_its_completion_after(
    scene: Scene, tool: str
) -> None:
    message = call(tool, case=f"whole-{tool}", text="hello")
    reply = await scene.agent.ask(message)
    assert reply.status == 200, reply.body
    seen = scene.upstream.calls(f"whole-{tool}")[0]
    intent = intent_of(scene, seen.body)
    await eventually(lambda: of_case(scene, "call.completion", intent["call"]))
    (done,) = of_case(scene, "call.completion", intent["call"])
    assert intent["what"]["server"] == SERVER
    assert intent["what"]["name"] == tool
    assert intent["what"]["class"] == {"get_ticket": "read", "open_ticket": "write"}[tool]
    assert len(intent["what"]["definition"]) == 64
    assert intent["who"]["agent"] == "test"
    assert intent["why"]["decision"] == "allow"
    assert intent["why"]["rule"] == {"get_ticket": "readers", "open_ticket": "writers"}[tool]
    assert set(intent["arguments"]) == {"case", "text"}
    assert done["intent"] == intent["seq"] < done["seq"]
    assert (done["result"], done["status"], done["delivery"]) == ("ok", 200, "done")
    assert done["bytes"] == len(reply.body)


async def test_the_intent_is_there_before_the_upstream_answers(scene: Scene) -> None:
    asked = asyncio.create_task(scene.agent.ask(call("driven", case="before")))
    seen = await scene.upstream.arrived("before")
    intent = intent_of(scene, seen.body)
    assert of_case(scene, "call.completion", intent["call"]) == []
    await seen.result({"content": [], "isError": True})
    assert (await asked).status == 200
    await eventually(lambda: of_case(scene, "call.completion", intent["call"]))
    (done,) = of_case(scene, "call.completion", intent["call"])
    assert done["result"] == "tool_error"


async def test_a_refused_call_is_written_down_and_its_reason_stays_here(scene: Scene) -> None:
    """A10: denied, malformed and unknown; nothing reaches the upstream."""
    before, seen = len(records(folder(scene), "call.refused")), len(scene.upstream.seen)
    denied = await scene.agent.ask(call("refund", case="refused", amount=1))
    unknown = await scene.agent.ask(call("no_such_tool", case="refused"))
    assert "not pinned" not in denied.body.decode() + unknown.body.decode()
    assert scene.upstream.calls("refused") == []
    assert len(scene.upstream.seen) == seen
    found = records(folder(scene), "call.refused")[before:]
    assert [each["why"]["decision"] for each in found] == ["deny"] * len(found)
    names = [each["what"].get("name") for each in found]
    # The relay judges first, by what the client told it: what it refuses never comes here.
    assert set(names) <= {"refund", "no_such_tool"}


async def test_lists_streams_and_notifications_are_written_down_too(scene: Scene) -> None:
    agent = (await scene.grant()).agent
    begun = await agent.ask(initialize())
    session = [("Mcp-Session-Id", begun.values("mcp-session-id")[0])]
    message = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert (await agent.ask(message, headers=session)).status == 202
    listed = await agent.ask(request("tools/list", modern=False), headers=session)
    assert listed.status == 200
    async with agent.open(method="GET", headers=session):
        await scene.upstream.streams()

    def methods() -> set[str]:
        intents = records(folder(scene), "call.intent")
        return {each["what"].get("method", each["what"]["http"]) for each in intents}

    wanted = {"initialize", "notifications/initialized", "tools/list", "GET"}
    await eventually(lambda: wanted <= methods())


async def test_who_an_agent_says_it_is_stands_apart(scene: Scene) -> None:
    """A17: what is claimed, by whatever way, is never the identity."""
    agent = (await scene.grant()).agent
    message = initialize()
    message["params"]["clientInfo"] = {"name": "root", "version": "9\nseq"}
    begun = await agent.ask(message, headers=[("X-Forwarded-User", "root")])
    session = [("Mcp-Session-Id", begun.values("mcp-session-id")[0])]
    told = call("get_ticket", case="claims", modern=False, text="user=root")
    assert (await agent.ask(told, headers=session)).status == 200
    who = intent_of(scene, scene.upstream.calls("claims")[0].body)["who"]
    assert (who["agent"], who["claimed"]) == ("test", "root/9?seq")
    assert "root" not in who["user"]


async def test_no_secret_is_in_any_file_of_the_log(scene: Scene) -> None:
    """A11: in arguments, under odd names, in answers, in errors."""
    for modern, arguments in (
        (True, {"text": CANARY}),
        (True, {"text": {"nested": [{"password": CANARY}]}}),
        (True, {"text": f"https://user:{CANARY}@example.com/?k={CANARY}"}),
        (True, {"text": json.dumps({"password": json.dumps([CANARY])})}),
        (False, {"text": [[CANARY], {CANARY: CANARY}], CANARY: CANARY}),
    ):
        message = call("get_ticket", case="secret", modern=modern, **arguments)
        assert CANARY in (await scene.agent.ask(message)).body.decode()  # it echoes
    odd = request("tools/call", {"name": "get_ticket", "arguments": {"case": "secret", CANARY: 1}})
    odd["params"]["_meta"]["x"] = {"Authorization": CANARY}
    await scene.agent.ask(odd)
    asked = asyncio.create_task(scene.agent.ask(call("driven", case="secret-error")))
    seen = await scene.upstream.arrived("secret-error")
    failed = {"content": [{"type": "text", "text": f"password={CANARY}"}], "isError": True}
    await seen.result(failed, [("X-Failed", CANARY)])
    assert CANARY in (await asked).body.decode()
    await scene.agent.ask(call(f"tool_{CANARY} x", case="secret"))
    await scene.agent.ask(request("resources/read", {"uri": f"db://u:{CANARY}@h/x?{CANARY}"}))
    assert len(scene.upstream.calls("secret")) >= 4
    assert holding(folder(scene), CANARY) == []
    assert holding(scene.lab.folder / "relay" / "state" / "audit", CANARY) == []


async def test_large_arguments_are_their_length_and_the_digest_of_all(scene: Scene) -> None:
    """A12: a record stays small; 50 MB go no further than the relay."""
    reply = await scene.agent.ask(call("get_ticket", case="large", text="x" * 3_000_000))
    assert reply.status == 200
    body = scene.upstream.calls("large")[0].body
    intent = intent_of(scene, body)
    assert intent["arguments"] == {"*": {"bytes": len(body)}}
    assert len(json.dumps(intent)) < 2000
    async with scene.agent.open(call("get_ticket", case="huge", text="x" * 50_000_000)) as huge:
        assert (await huge.head()).status == 413
    assert scene.upstream.calls("huge") == []


async def test_a_revoked_call_and_one_whose_agent_left_say_so(scene: Scene) -> None:
    held = await scene.grant()
    async with held.agent.open(call("driven", case="revoked")):
        revoked = intent_of(scene, (await scene.upstream.arrived("revoked")).body)
        await scene.lab.relay_command("session", "revoke", held.id)
    async with scene.agent.open(call("driven", case="left")):
        left = intent_of(scene, (await scene.upstream.arrived("left")).body)
    for intent, result in ((revoked, "revoked_in_flight"), (left, "cancelled")):
        await eventually(partial(of_case, scene, "call.completion", intent["call"]))
        (done,) = of_case(scene, "call.completion", intent["call"])
        assert (done["result"], done["delivery"]) == (result, "unknown")


async def test_what_bears_on_calls_is_written_down(scene: Scene) -> None:
    kinds = Counter(each["kind"] for each in records(folder(scene)))
    for kind in ("client.enrolled", "client.started", "policy.read", "link.up", "tool.pinned"):
        assert kinds[kind] >= 1, kind
    links = {each["link"] for each in records(folder(scene), "link.up")}
    assert all(
        each["call"].partition(".")[0] in links
        for each in records(folder(scene), "call.intent")[-5:]
    )
    (classified, *_) = records(folder(scene), "tool.classified")
    assert classified["tool"] == "get_ticket"
    assert classified["by"]


async def test_commands_verify_and_search_a_copy_without_settings(
    scene: Scene, tmp_path: Path
) -> None:
    def tool(*words: str) -> Any:
        return scene.lab._run("tunnel-client", "audit", *words)

    await end(scene.lab.client)
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder(scene).iterdir():
        if path.suffix == ".jsonl" or path.name == "checkpoints":
            (copy / path.name).write_bytes(path.read_bytes())
    key, point = tmp_path / "key", tmp_path / "point"
    key.write_text(await scene.lab.client_command("audit", "key"))
    point.write_text(await scene.lab.client_command("audit", "checkpoint"))
    words = ("verify", "--folder", str(copy), "--key", str(key), "--checkpoint", str(point))
    report = json.loads(await tool(*words, "--json"))
    assert report["ok"] is True
    assert report["records"] == report["signed"] == len(records(copy))
    assert report["open_intents"] == {}
    wanted = ("--kind", "call.", "--tool", "open_ticket", "--json")
    found = await tool("query", "--folder", str(copy), *wanted)
    listed = json.loads(found)["records"]
    assert {each["what"]["name"] for each in listed if "what" in each} == {"open_ticket"}
    assert {each["kind"] for each in listed} >= {"call.intent", "call.completion"}
    assert "audit.closed" in await tool("tail", "--folder", str(copy), "-n", "1")
    await scene.lab.start_client([SERVER, OTHER])


async def test_a_permitted_call_names_its_approval_and_what_was_approved() -> None:
    """A20: the intent carries the approval's id and digest; it is on the disk before it leaves."""
    async with open_desk(None, "carol") as desk:
        approval = await desk.approved("send_mail", True, case="permit", to="ann")
        assert desk.reached("permit") == 0
        reply = await desk.call("send_mail", True, case="permit", to="ann")
        assert "result" in reply.document
        intent = intent_of(desk.scene, desk.upstream.calls("permit")[0].body)
        assert intent["approval"]["id"] == approval
        assert len(intent["approval"]["arguments"]) == 64
        assert intent["approval"]["approvers"]
        assert intent["why"]["decision"] == "require_approval"
        assert intent["why"]["rule"] == "mailing"
        asked = records(folder(desk.scene), "call.refused")
        assert [each["why"]["decision"] for each in asked] == ["require_approval"]
