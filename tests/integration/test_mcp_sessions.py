"""The relay's own MCP session ids: names below a session, worthless to anybody else."""

from collections.abc import Iterable

import pytest

from tests.helpers.agent import LEGACY, Agent, Reply, call, initialize
from tests.helpers.recording_upstream import UPSTREAM_SESSION
from tests.helpers.tunnel import TUNNEL, end
from tests.integration.scene import OTHER, SERVER, Scene, eventually, open_scene
from tests.integration.test_link_failures import kill

pytestmark = [
    pytest.mark.system,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.usefixtures("clean"),
]

TOOL = call("echo", modern=False)


async def begin(agent: Agent, sent: str | None = None) -> str:
    """Begin an MCP session and return the id the relay gave it."""
    headers = [] if sent is None else [("Mcp-Session-Id", sent)]
    reply = await agent.ask(initialize(), headers=headers)
    assert reply.status == 200, reply.body
    (name,) = reply.values("mcp-session-id")
    return name


def named(name: str) -> list[tuple[str, str]]:
    return [("Mcp-Session-Id", name), ("MCP-Protocol-Version", LEGACY)]


def tampered(name: str) -> Iterable[str]:
    """Spell an id wrongly in ways that different decoders forgive."""
    yield name[:-1]
    yield name + "A"
    yield name[:-1] + ("A" if name[-1] != "A" else "B")
    yield ("A" if name[0] != "A" else "B") + name[1:]
    yield name.replace("-", "+").replace("_", "/") + "="
    yield name.swapcase()
    yield "A" * len(name)
    yield ""
    yield "x" * 3000
    yield UPSTREAM_SESSION + "1"


async def test_neither_side_ever_sees_the_others_id(scene: Scene) -> None:
    name = await begin(scene.agent)
    replies = [await scene.agent.ask(TOOL, headers=named(name)) for _ in range(3)]
    assert [reply.status for reply in replies] == [200] * 3
    for reply in replies:
        assert UPSTREAM_SESSION not in str(reply.headers) + reply.body.decode()
    first, *later = scene.upstream.seen
    assert first.values("mcp-session-id") == []
    (upstreams,) = {value for seen in later for value in seen.values("mcp-session-id")}
    assert upstreams.startswith(UPSTREAM_SESSION)
    assert name not in str([seen.headers for seen in scene.upstream.seen])


async def test_every_initialize_is_a_session_of_its_own(scene: Scene) -> None:
    names = [await begin(scene.agent) for _ in range(5)]
    assert len(set(names)) == 5
    for name in names:
        assert (await scene.agent.ask(TOOL, headers=named(name))).status == 200
    upstreams = [seen.values("mcp-session-id") for seen in scene.upstream.seen[5:]]
    assert len({value for values in upstreams for value in values}) == 5


async def test_an_id_that_is_not_the_callers_is_unknown_whatever_it_is(scene: Scene) -> None:
    owner, stranger = await scene.grant(user="ada"), await scene.grant(user="bob")
    elsewhere = await scene.grant(OTHER, user="ada")
    again = await scene.grant(user="ada")
    name = await begin(owner.agent)
    replies: list[Reply] = []
    for agent in (stranger.agent, elsewhere.agent, again.agent):
        replies += [await agent.ask(TOOL, headers=named(name))]
        replies += [await agent.ask(method="GET", headers=named(name))]
        replies += [await agent.ask(method="DELETE", headers=named(name))]
    for wrong in tampered(name):
        replies.append(await owner.agent.ask(TOOL, headers=named(wrong)))
    assert {reply.status for reply in replies} == {404}
    assert len({reply.body for reply in replies}) == 1
    assert len({str(sorted(reply.headers)) for reply in replies}) == 1
    assert b"reconnect" in replies[0].body
    assert [seen.document.get("method") for seen in scene.upstream.seen] == ["initialize"]
    assert (await owner.agent.ask(TOOL, headers=named(name))).status == 200


async def test_two_ids_on_one_request_are_refused(scene: Scene) -> None:
    name = await begin(scene.agent)
    headers = [("Mcp-Session-Id", name), ("Mcp-Session-Id", name)]
    assert (await scene.agent.ask(TOOL, headers=headers)).status == 400


@pytest.mark.parametrize("sent", ["stale", "foreign", "own"])
async def test_s12_initialize_takes_no_id_from_the_agent(scene: Scene, sent: str) -> None:
    stranger = await scene.grant(user="bob")
    given = {
        "stale": "A" * 64,
        "foreign": await begin(stranger.agent),
        "own": await begin(scene.agent),
    }[sent]
    scene.upstream.seen.clear()
    name = await begin(scene.agent, given)
    assert name != given
    assert scene.upstream.seen[0].values("mcp-session-id") == []
    assert (await scene.agent.ask(TOOL, headers=named(name))).status == 200


async def test_delete_ends_it_at_the_upstream_and_here(scene: Scene) -> None:
    name = await begin(scene.agent)
    ended = await scene.agent.ask(method="DELETE", headers=named(name))
    assert (ended.status, ended.body) == (204, b"")
    assert [seen.method for seen in scene.upstream.seen] == ["POST", "DELETE"]
    for message, method in ((TOOL, "POST"), (None, "GET"), (None, "DELETE")):
        reply = await scene.agent.ask(message, method=method, headers=named(name))
        assert reply.status == 404
        assert b"reconnect" in reply.body
    assert len(scene.upstream.seen) == 2


async def test_an_upstream_that_forgot_says_so_itself(scene: Scene) -> None:
    name = await begin(scene.agent)
    scene.upstream.sessions.clear()
    reply = await scene.agent.ask(TOOL, headers=named(name))
    assert (reply.status, reply.body) == (404, b"no such MCP session")
    assert (await scene.agent.ask(TOOL, headers=named(name))).status == 404
    assert len(scene.upstream.seen) == 2


async def test_an_upstream_without_sessions_gives_the_agent_none(scene: Scene) -> None:
    scene.upstream.stateful = False
    try:
        reply = await scene.agent.ask(initialize())
    finally:
        scene.upstream.stateful = True
    assert reply.status == 200
    assert reply.values("mcp-session-id") == []


async def test_modern_requests_have_no_mcp_session(scene: Scene) -> None:
    for name in (await begin(scene.agent), "A" * 64, ""):
        headers = [("Mcp-Session-Id", name)]
        reply = await scene.agent.ask(call("headers"), headers=headers)
        assert reply.status == 200
        assert "mcp-session-id" not in dict(reply.document["result"]["headers"])
        assert not reply.values("mcp-session-id")


async def test_a_revoked_session_ends_its_mcp_sessions_at_the_upstream(scene: Scene) -> None:
    grant = await scene.grant()
    names = [await begin(grant.agent) for _ in range(3)]
    held = set(scene.upstream.sessions)
    await scene.lab.relay_json("session", "revoke", grant.id)
    await scene.upstream.until(lambda: len(held - scene.upstream.sessions) == len(names))
    assert (await grant.agent.ask(TOOL, headers=named(names[0]))).status == 401
    deletes = [seen for seen in scene.upstream.seen if seen.method == "DELETE"]
    assert len(deletes) == 3


async def test_a_restarted_client_knows_none_and_the_person_is_told_what_to_do(
    scene: Scene,
) -> None:
    name = await begin(scene.agent)
    await end(scene.lab.client)
    await eventually(lambda: links(scene, 0))
    # Its goodbye ended what it held: nobody waits for it to come back.
    assert (await scene.agent.ask(TOOL, headers=named(name))).status == 404
    await scene.lab.start_client([SERVER, OTHER])
    scene.upstream.seen.clear()
    reply = await scene.agent.ask(TOOL, headers=named(name))
    assert reply.status == 404
    assert b"reconnect" in reply.body
    assert scene.upstream.seen == []
    fresh = await begin(scene.agent, name)
    assert (await scene.agent.ask(TOOL, headers=named(fresh))).status == 200
    await scene.linked()


async def test_an_mcp_session_of_a_client_that_was_dropped_is_gone() -> None:
    """It ended without a word, so it might come back: until its key is forgotten."""
    limits = {"limits.resume_closed_seconds": "0s", "limits.wait_for_client": "1s"}
    async with open_scene(limits) as scene:
        name = await begin(scene.agent)
        await kill(scene.lab.client)
        await eventually(lambda: links(scene, 0))
        assert (await scene.agent.ask(TOOL, headers=named(name))).status == 503
        await scene.lab.relay_command("tunnel", "rotate", TUNNEL, "--drop-clients")
        reply = await scene.agent.ask(TOOL, headers=named(name))
        assert reply.status == 404
        assert b"reconnect" in reply.body


async def links(scene: Scene, count: int) -> bool:
    return bool((await scene.ready())["links"] == count)
