"""Many requests on one connection: what passed once is judged again where it may have changed."""

from dataclasses import dataclass, replace

import pytest

from tests.helpers.agent import DROP, LEGACY, Agent, Reply, call, connected, initialize
from tests.integration.scene import OTHER, Scene, eventually

pytestmark = [
    pytest.mark.system,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.usefixtures("clean"),
]

GOOD = call("echo", case="good")
BAD = call("echo", case="attack")


@dataclass
class Kept:
    """One connection that several requests share."""

    reply: Reply

    async def ask(self, request: bytes) -> Reply:
        """Send a request and return a copy of its whole response."""
        self.reply.begin_again()
        self.reply.transport.write(request)
        await self.reply.end()
        answer = Reply()
        answer.status, answer.headers = self.reply.status, self.reply.headers
        answer.body = self.reply.body
        return answer


async def test_one_refused_head_between_good_ones_changes_nothing(scene: Scene) -> None:
    agent = scene.agent
    other = await scene.grant(OTHER)
    refused = [
        (401, agent.with_token(None).encode(BAD)),
        (401, agent.encode(BAD, headers=[("Authorization", "Bearer null")])),
        (403, agent.encode(BAD, headers=[("Origin", "https://evil.example")])),
        (421, agent.encode(BAD, headers=[("Host", "evil.example")])),
        (415, agent.encode(BAD, headers=[("Content-Type", "text/plain")])),
        (415, agent.encode(BAD, headers=[("Content-Encoding", "gzip")])),
        (404, agent.at(other.agent.path).encode(BAD)),
        (404, replace(other.agent, path=agent.path).encode(BAD)),
        (405, agent.encode(BAD, method="PUT")),
        (400, agent.encode(BAD, headers=[("Mcp-Method", "tools/list")])),
        (400, agent.encode(BAD, headers=[("Mcp-Name", DROP)])),
        (400, agent.encode(b"{")),
        (400, agent.encode(call("other", case="attack"), headers=[("Mcp-Name", "echo")])),
    ]
    async with connected(scene.lab.port) as reply:
        kept = Kept(reply)
        for status, request in refused:
            for _ in range(2):
                answer = await kept.ask(agent.encode(GOOD))
                assert answer.status == 200
            answer = await kept.ask(request)
            assert answer.status == status, request
        assert (await kept.ask(agent.encode(GOOD))).status == 200
    assert {seen.case for seen in scene.upstream.seen} == {"good"}


async def test_the_same_head_with_another_body_is_judged_by_the_body(scene: Scene) -> None:
    headers = [("MCP-Protocol-Version", DROP)]
    bodies = {b"{": 400, b"[]": 400, b'{"jsonrpc":"2.0","id":1,"method":"x/y"}': 200}
    async with connected(scene.lab.port) as reply:
        kept = Kept(reply)
        legacy = call("echo", case="good", modern=False)
        assert (await kept.ask(scene.agent.encode(legacy, headers=headers))).status == 200
        for body, status in bodies.items():
            answer = await kept.ask(scene.agent.encode(body, headers=headers))
            assert (answer.status, "error" in answer.document) == (status, True)
        assert (await kept.ask(scene.agent.encode(legacy, headers=headers))).status == 200
    assert [seen.case for seen in scene.upstream.seen] == ["good", "good"]


async def test_a_revoked_session_is_refused_on_a_connection_it_had_open(scene: Scene) -> None:
    grant = await scene.grant()
    async with connected(scene.lab.port) as reply:
        kept = Kept(reply)
        for _ in range(3):
            assert (await kept.ask(grant.agent.encode(GOOD))).status == 200
        await scene.lab.relay_json("session", "revoke", grant.id)
        for _ in range(3):
            assert (await kept.ask(grant.agent.encode(BAD))).status == 401
        assert (await kept.ask(scene.agent.encode(GOOD))).status == 200
    assert scene.upstream.calls("attack") == []


async def test_an_expired_session_is_refused_on_a_connection_it_had_open(scene: Scene) -> None:
    grant = await scene.quick_grant(2.0)
    async with connected(scene.lab.port) as reply:
        kept = Kept(reply)

        async def over() -> bool:
            return (await kept.ask(grant.agent.encode(GOOD))).status == 401

        assert not await over()
        await eventually(over)
        assert (await kept.ask(scene.agent.encode(GOOD))).status == 200


async def test_two_sessions_share_a_connection_without_mixing(scene: Scene) -> None:
    first, second = await scene.grant(user="ada"), await scene.grant(user="bob")
    async with connected(scene.lab.port) as reply:
        kept = Kept(reply)
        names = [await began(kept, grant.agent) for grant in (first, second)]
        for _ in range(2):
            for grant, name in zip((first, second), names, strict=True):
                assert (await kept.ask(legacy_call(grant.agent, name))).status == 200
            for grant, name in zip((second, first), names, strict=True):
                assert (await kept.ask(legacy_call(grant.agent, name))).status == 404
    held = [seen.values("mcp-session-id") for seen in scene.upstream.seen[2:]]
    assert held == [held[0], held[1]] * 2
    assert held[0] != held[1]


async def began(kept: Kept, agent: Agent) -> str:
    (name,) = (await kept.ask(agent.encode(initialize()))).values("mcp-session-id")
    return name


def legacy_call(agent: Agent, name: str) -> bytes:
    headers = [("Mcp-Session-Id", name), ("MCP-Protocol-Version", LEGACY)]
    return agent.encode(call("echo", modern=False), headers=headers)


async def test_an_agent_that_begins_again_gets_an_id_of_its_own_each_time(scene: Scene) -> None:
    async with connected(scene.lab.port) as reply:
        kept = Kept(reply)
        names = [await began(kept, scene.agent) for _ in range(4)]
        assert len(set(names)) == 4
        for name in names:
            assert (await kept.ask(legacy_call(scene.agent, name))).status == 200
