"""The client's log against what its upstream saw: real programs, real files, real faults."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.helpers.agent import call
from tests.helpers.audit_log import Record, records
from tests.helpers.tunnel import Lab
from tests.integration.policies import TOOLS, desk_upstream
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
