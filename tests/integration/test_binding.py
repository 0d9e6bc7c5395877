"""What is bound to one user, agent and server serves nobody else."""

import pytest

from tests.helpers.agent import LEGACY, Agent, call, initialize, request
from tests.helpers.tunnel import TUNNEL
from tests.integration.scene import OTHER, SERVER, Grant, Scene, eventually

pytestmark = [
    pytest.mark.system,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.usefixtures("clean"),
]


async def begun(agent: Agent) -> list[tuple[str, str]]:
    """Begin an MCP session; returns the fields by which its requests name it."""
    reply = await agent.ask(initialize())
    (name,) = reply.values("mcp-session-id")
    return [("Mcp-Session-Id", name), ("MCP-Protocol-Version", LEGACY)]


async def strangers(scene: Scene) -> list[Grant]:
    """Another user, the same user with another agent, and the same two once more."""
    return [
        await scene.grant(user="eve"),
        await scene.grant(agent="another"),
        await scene.grant(),
    ]


async def test_s02_s03_s13_another_user_or_agent_gets_nothing_of_an_mcp_session(
    scene: Scene,
) -> None:
    victim = await scene.grant()
    named = await begun(victim.agent)
    seen = len(scene.upstream.seen)
    wanted = await victim.agent.ask(
        call("echo", modern=False), headers=[("Mcp-Session-Id", "x" * 64), named[1]]
    )
    for stranger in await strangers(scene):
        for message in (call("echo", modern=False), request("tools/list", modern=False)):
            reply = await stranger.agent.ask(message, headers=named)
            # The same as for an id that never was, to the byte.
            assert (reply.status, reply.body) == (wanted.status, wanted.body)
        stream = await stranger.agent.ask(method="GET", headers=named)
        assert (stream.status, stream.body) == (wanted.status, wanted.body)
    assert len(scene.upstream.seen) == seen
    assert (await victim.agent.ask(call("echo", modern=False), headers=named)).status == 200


async def test_s27_nobody_else_ends_an_mcp_session(scene: Scene) -> None:
    victim = await scene.grant()
    named = await begun(victim.agent)
    for stranger in await strangers(scene):
        assert (await stranger.agent.ask(method="DELETE", headers=named)).status == 404
    assert (await victim.agent.ask(call("echo", modern=False), headers=named)).status == 200


async def test_s15_nothing_resumes_after_a_revocation(scene: Scene) -> None:
    victim = await scene.grant()
    named = await begun(victim.agent)
    await scene.lab.relay_command("session", "revoke", victim.id)
    seen = len([each for each in scene.upstream.seen if each.method == "GET"])
    reply = await victim.agent.ask(method="GET", headers=[*named, ("Last-Event-ID", "1")])
    assert reply.status == 401
    assert len([each for each in scene.upstream.seen if each.method == "GET"]) == seen


async def test_s15_nothing_resumes_after_the_end_of_the_time(scene: Scene) -> None:
    victim = await scene.quick_grant(2.0)
    named = await begun(victim.agent)
    seen = len([each for each in scene.upstream.seen if each.method == "GET"])
    await eventually(lambda: ended(scene, victim), every=0.2)
    reply = await victim.agent.ask(method="GET", headers=[*named, ("Last-Event-ID", "1")])
    assert reply.status == 401
    assert len([each for each in scene.upstream.seen if each.method == "GET"]) == seen
    # Nor with another session of the very same user, agent and server.
    again = await (await scene.grant()).agent.ask(
        method="GET", headers=[*named, ("Last-Event-ID", "1")]
    )
    assert again.status == 404
    assert len([each for each in scene.upstream.seen if each.method == "GET"]) == seen


async def ended(scene: Scene, grant: Grant) -> bool:
    """Tell whether a session is over."""
    shown = await scene.lab.relay_json("session", "show", grant.id)
    return bool(shown["session"]["state"] == "expired")


async def test_s28_no_answer_may_be_kept_for_others(scene: Scene) -> None:
    listed = await scene.agent.ask(request("tools/list"))
    assert listed.values("cache-control") == ["no-store"]
    async with scene.agent.open(call("driven", case="public")) as reply:
        seen = await scene.upstream.arrived("public")
        fields = [("Cache-Control", "public, max-age=600"), ("Content-Type", "application/json")]
        await seen.answer(200, b"{}", fields)
        assert (await reply.end()).values("cache-control") == ["no-store"]


async def test_s26_s30_what_is_taken_from_a_user_ends_while_it_runs(scene: Scene) -> None:
    words = ("--server", f"{TUNNEL}/{SERVER}", "--server", f"{TUNNEL}/{OTHER}")
    await scene.lab.relay_command("user", "add", "pia", "--no-password", *words)
    mine, other = await scene.grant(user="pia"), await scene.grant(OTHER, user="pia")
    async with mine.agent.open(call("driven", id=5, case="taken")) as reply:
        seen = await scene.upstream.arrived("taken")
        await seen.event_stream()
        await seen.event({"n": 1})
        await reply.text(b'"n"')
        report = await scene.lab.relay_json(
            *("user", "change", "pia", "--server", f"{TUNNEL}/{OTHER}")
        )
        assert report["sessions"] == 1
        await reply.end()
        await scene.upstream.until(seen.closed.is_set)
    assert (await mine.agent.ask(call("echo"))).status == 401
    await scene.serves(other.agent, "kept-server")
    await scene.lab.relay_command("user", "disable", "pia")
    assert (await other.agent.ask(call("echo"))).status == 401


async def test_h31_what_is_forbidden_looks_like_what_does_not_exist(scene: Scene) -> None:
    replies = [
        await scene.agent.at(path).ask(call("echo"))
        for path in (
            f"/t/{TUNNEL}/{OTHER}/mcp",
            f"/t/{TUNNEL}/nowhere/mcp",
            f"/t/nobody/{SERVER}/mcp",
        )
    ]
    assert {reply.status for reply in replies} == {404}
    assert len({reply.body for reply in replies}) == 1
    nobody = Agent(scene.lab.port, f"/t/{TUNNEL}/nowhere/mcp", None)
    assert (await nobody.ask(call("echo"))).status == (
        await scene.agent.with_token(None).ask(call("echo"))
    ).status
