"""A session ends when it should, at once and for good, and its token is nowhere."""

import asyncio
import base64
import json
import os
import signal
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from shared.ids import SESSION_PREFIX, token_digest
from tests.helpers.agent import Agent, Reply, call, initialize
from tests.helpers.recording_upstream import Seen
from tests.helpers.tunnel import Lab
from tests.integration.scene import LINKS, Grant, Scene, eventually

pytestmark = [
    pytest.mark.system,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.usefixtures("clean"),
]


def secret(agent: Agent) -> str:
    assert agent.token is not None
    return agent.token.get_secret_value()


async def refused(agent: Agent) -> bool:
    """Make a call; tell whether the token is worth nothing."""
    reply = await agent.ask(call("echo", case="after-the-end"))
    return reply.status == 401


async def state(scene: Scene, grant: Grant) -> str:
    shown = await scene.lab.relay_json("session", "show", grant.id)
    found: str = shown["session"]["state"]
    return found


def check_last_event(reply: Reply, message_id: int) -> None:
    """See that a cut event stream ended with one clear error."""
    last = reply.events[-1]
    assert last["id"] == message_id
    assert not -32768 <= last["error"]["code"] <= -32000
    assert last["error"]["data"] == {"origin": "relay", "delivery": "unknown"}


async def running(scene: Scene, reply: Reply, case: str) -> Seen:
    """Bring a driven call to its first event."""
    seen = await scene.upstream.arrived(case)
    await seen.event_stream()
    await seen.event({"n": 1})
    await reply.text(b'"n"')
    return seen


async def test_expiry_refuses_the_next_call_and_cuts_the_running_one(scene: Scene) -> None:
    grant = await scene.quick_grant(3.0)
    async with grant.agent.open(call("driven", id=8, case="expires")) as reply:
        seen = await running(scene, reply, "expires")
        await reply.end()
        check_last_event(reply, 8)
        await scene.upstream.until(seen.closed.is_set)
    assert await refused(grant.agent)
    assert await state(scene, grant) == "expired"
    assert scene.upstream.calls("after-the-end") == []


async def test_an_unused_session_ends(scene: Scene) -> None:
    grant = await scene.quick_grant(idle=2.0)
    await scene.serves(grant.agent)
    await eventually(lambda: is_state(scene, grant, "idle"))
    assert await refused(grant.agent)
    assert scene.upstream.calls("after-the-end") == []


async def is_state(scene: Scene, grant: Grant, wanted: str) -> bool:
    return await state(scene, grant) == wanted


async def test_revoking_cuts_what_runs_and_says_what_it_cut(scene: Scene) -> None:
    grant, other = await scene.grant(), await scene.grant()
    async with (
        grant.agent.open(call("driven", id=1, case="cut-stream")) as streaming,
        grant.agent.open(call("driven", id=2, case="cut-early")) as early,
        grant.agent.open(call("driven", id=3, case="cut-legacy", modern=False)) as legacy,
        other.agent.open(call("driven", id=4, case="kept")) as kept,
    ):
        seen = [await running(scene, streaming, "cut-stream")]
        seen += [await scene.upstream.arrived(case) for case in ("cut-early", "cut-legacy")]
        report = await scene.lab.relay_json("session", "revoke", grant.id)
        await streaming.end()
        check_last_event(streaming, 1)
        for reply, message_id in ((early, 2), (legacy, 3)):
            await reply.end()
            assert reply.error["id"] == message_id
            assert reply.error["data"] == {"origin": "relay", "delivery": "unknown"}
            assert not -32768 <= reply.error["code"] <= -32000
        for one in seen:
            await scene.upstream.until(one.closed.is_set)
        await (await scene.upstream.arrived("kept")).result({"alive": True})
        assert (await kept.end()).document["result"] == {"alive": True}
    check_report(report, streams=3)
    assert await refused(grant.agent)
    await scene.serves(other.agent)


def check_report(report: dict[str, Any], streams: int) -> None:
    assert report["session"]["state"] == "revoked"
    assert report["stored"] is True
    cut = report["cut"]
    assert (cut["streams"], cut["links"], cut["silent"]) == (streams, LINKS, [])
    (client,) = cut["clients"]
    assert client["ms"] >= 0
    assert len(client["instance"]) == 32


async def test_a_cut_call_of_an_agent_that_left_is_cut_at_the_upstream_too(scene: Scene) -> None:
    grant = await scene.grant()
    async with grant.agent.open(call("driven", case="orphan", modern=False)):
        seen = await scene.upstream.arrived("orphan")
    await scene.serves()
    assert not seen.closed.is_set()
    await scene.lab.relay_json("session", "revoke", grant.id)
    await scene.upstream.until(seen.closed.is_set)


async def test_a_body_that_was_still_coming_when_the_session_ended_is_not_sent_on(
    scene: Scene,
) -> None:
    grant = await scene.grant()
    body = json.dumps(call("echo", case="slow-body")).encode()
    headers = [("Content-Length", str(len(body)))]
    for name, value in grant.agent.head(call("echo")):
        if name.startswith(("Mcp-", "MCP-")):
            headers.append((name, value))
    async with grant.agent.open(body[:20], headers=headers) as reply:
        # The head is judged by the time a later call on another connection is answered.
        await scene.serves()
        await scene.lab.relay_json("session", "revoke", grant.id)
        reply.transport.write(body[20:])
        await reply.end()
        assert reply.status == 401
    assert scene.upstream.calls("slow-body") == []


async def test_no_call_succeeds_that_began_after_revoking_was_acknowledged(scene: Scene) -> None:
    grant = await scene.grant()
    acknowledged = asyncio.Event()
    late: list[int] = []

    async def hammer() -> None:
        while len(late) < 64:
            began_late = acknowledged.is_set()
            async with grant.agent.open(call("echo", case="race")) as reply:
                await reply.head()
            assert reply.status in (200, 401, 403)
            if began_late:
                late.append(reply.status)

    with anyio.fail_after(60):
        workers = [asyncio.create_task(hammer()) for _ in range(16)]
        await scene.upstream.until(lambda: len(scene.upstream.calls("race")) > 50)
        await scene.lab.relay_json("session", "revoke", grant.id)
        acknowledged.set()
        await asyncio.gather(*workers)
    assert set(late) == {401}


async def test_s18_what_the_database_holds_is_not_a_token(scene: Scene) -> None:
    digest = token_digest(secret(scene.agent))
    forged = SESSION_PREFIX + base64.urlsafe_b64encode(digest).decode().rstrip("=")
    assert await refused(scene.agent.with_token(SecretStr(forged)))


async def test_unknown_expired_revoked_and_never_made_are_one_answer(scene: Scene) -> None:
    expired, revoked = await scene.grant(ttl="1s"), await scene.grant()
    await scene.lab.relay_json("session", "revoke", revoked.id)
    await eventually(lambda: is_state(scene, expired, "expired"))
    never = scene.agent.with_token(SecretStr(SESSION_PREFIX + "A" * 43))
    replies = [await agent.ask(call("echo")) for agent in (expired.agent, revoked.agent, never)]
    assert {reply.status for reply in replies} == {401}
    assert len({reply.body for reply in replies}) == 1
    assert len({str(sorted(reply.headers)) for reply in replies}) == 1


async def test_s19_a_token_is_nowhere_but_with_its_agent(scene: Scene) -> None:
    grant = await scene.grant(ttl="1h")
    await scene.serves(grant.agent)
    await grant.agent.ask(b"{broken")
    await grant.agent.at(f"{grant.agent.path}?token={secret(grant.agent)}").ask(call("echo"))
    await grant.agent.at(f"/t/{secret(grant.agent)}/x/mcp").ask(call("echo"))
    await scene.lab.relay_json("session", "list", "--all")
    await scene.lab.relay_json("session", "revoke", grant.id, "--reason", "canary")
    token = secret(grant.agent).encode()
    spellings = {
        token,
        token.removeprefix(SESSION_PREFIX.encode()),
        base64.b64encode(token)[:-4],
        token.hex().encode(),
    }
    found = [
        (path, spelling)
        for path, text in everything_written(scene.lab)
        for spelling in spellings
        if spelling in text
    ]
    assert found == []
    assert not [seen for seen in scene.upstream.seen if token.decode() in str(seen.headers)]


def everything_written(lab: Lab) -> list[tuple[str, bytes]]:
    """Return every file of both programs: logs, database, its journal, state."""
    paths = [path for path in lab.folder.rglob("*") if path.is_file()]
    assert any(path.name == "relay.db" for path in paths)
    return [(str(path), path.read_bytes()) for path in paths]


async def test_s24_a_revocation_outlives_a_killed_relay(scene: Scene) -> None:
    grant = await scene.grant()
    await scene.lab.relay_json("session", "revoke", grant.id)
    assert scene.lab.relay is not None
    os.killpg(scene.lab.relay.pid, signal.SIGKILL)
    await scene.lab.relay.wait()
    await scene.lab.start_relay()
    assert await refused(grant.agent)
    await scene.linked()
    await eventually(lambda: back(scene))
    await scene.serves()


async def back(scene: Scene) -> bool:
    """Tell whether calls are answered again."""
    return (await scene.agent.ask(call("echo"))).status == 200


async def test_what_an_expired_session_held_at_the_private_side_is_let_go(scene: Scene) -> None:
    grant = await scene.quick_grant(2.0)
    before = set(scene.upstream.sessions)
    assert (await grant.agent.ask(initialize())).status == 200
    (mine,) = scene.upstream.sessions - before
    await scene.upstream.until(lambda: mine not in scene.upstream.sessions)
    assert await state(scene, grant) == "expired"


async def test_a_running_call_keeps_its_session_from_being_idle(scene: Scene) -> None:
    grant = await scene.quick_grant(idle=2.0)
    async with grant.agent.open(call("driven", id=3, case="busy")) as reply:
        seen = await scene.upstream.arrived("busy")
        began = (await scene.lab.relay_json("session", "show", grant.id))["session"]["last_used"]

        async def used() -> bool:
            shown = await scene.lab.relay_json("session", "show", grant.id)
            return bool(shown["session"]["last_used"] - began > 3)

        await eventually(used, every=0.3)
        await seen.result({"content": []})
        assert (await reply.end()).status == 200


async def test_a_silent_event_stream_does_not(scene: Scene) -> None:
    grant = await scene.quick_grant(idle=3.0)
    async with grant.agent.open(call("driven", id=3, case="silent")) as reply:
        await running(scene, reply, "silent")
        await reply.end()
        check_last_event(reply, 3)
    assert await state(scene, grant) == "idle"
