"""What a session is, in the relay's word, and what a client does without it: T31, S30.

The relays here are a real one and one that turned hostile: it holds the key that the client
pinned, and says what no relay of ours says.
"""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from shared.errors import CloseCode, ResetCode
from shared.grant import Grant
from shared.keys import PrivateKey
from shared.wire.codec import encode_reset
from shared.wire.frames import Frame, FrameType
from tests.helpers.agent import call
from tests.helpers.audit_log import records
from tests.helpers.raw_link import Member, RawLink, joined
from tests.helpers.raw_relay import RawRelay, RawRelayLink, raw_relay
from tests.helpers.tcp_proxy import TcpProxy
from tests.helpers.tunnel import TUNNEL, end
from tests.integration.hostile import Stage
from tests.integration.scene import OTHER, SERVER, Scene, eventually, open_scene
from tests.integration.scene import Grant as Grantee
from tests.integration.test_sessions import running
from tests.shared.link.ends import Lane
from tunnel_relay.keyfiles import read_relay_key

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

SESSION = "0123456789abcdef" * 2


@dataclass
class Turned:
    """A client whose relay turned hostile."""

    scene: Scene
    relay: RawRelay
    link: RawRelayLink = field(init=False)

    async def start(self) -> None:
        """Run the client anew."""
        lab, before = self.scene.lab, len(self.relay.links)
        await end(lab.client)
        lab.client = await lab._start("tunnel-client", "run", lab.client_config, "client.log")
        self.link = await self.relay.linked(before + 1)

    def grant(self, **changed: Any) -> Grant:
        now = time.time()
        good: dict[str, Any] = {
            "session": SESSION,
            "user": "ada",
            "agent": "test",
            "tunnel": TUNNEL,
            "upstream": SERVER,
            "groups": (),
            "classes": (),
            "issued": now,
            "expires": now + 600,
            "instance": self.link.instance,
            "epoch": self.link.epoch,
        }
        return Grant(**(good | changed))

    def call(self, case: str, session: str = SESSION, upstream: str = SERVER) -> Lane:
        return self.link.call(session, upstream, call("echo", case=case, modern=False))

    async def refused(self, case: str, **of: Any) -> None:
        """See that a call is not made."""
        lane = self.call(case, **of)
        await eventually(lambda: lane.resets or lane.ended)
        assert [code for code, _ in lane.resets] == [ResetCode.NO_GRANT]
        assert self.scene.upstream.calls(case) == []

    async def served(self, case: str, **of: Any) -> None:
        """See that a call is made."""
        lane = self.call(case, **of)
        await eventually(lambda: lane.resets or lane.ended)
        assert lane.resets == []
        assert len(self.scene.upstream.calls(case)) == 1

    async def new_link(self) -> None:
        """Lose the link and wait for the next one."""
        before = len(self.relay.links)
        self.link.driver.close(CloseCode.GOING_AWAY, "moving")
        self.link = await self.relay.linked(before + 1)

    def said(self) -> str:
        return self.scene.log("client.log")


@asynccontextmanager
async def turned() -> AsyncIterator[Turned]:
    async with open_scene(start=False, links=1) as scene:
        folder = scene.lab.folder
        key = read_relay_key(folder / "relay" / "state" / "relay.key")
        state = folder / "client" / "state"
        async with raw_relay(key, state) as relay:
            scene.lab.environment["TUNNEL_CLIENT_RELAY__URL"] = f"ws://127.0.0.1:{relay.port}"
            yield Turned(scene, relay)
            await end(scene.lab.client)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hostile() -> AsyncIterator[Turned]:
    async with turned() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def fresh(hostile: Turned) -> Turned:
    """A link of its own, without the patience of a client that lost many."""
    await hostile.start()
    return hostile


# A relay that turned hostile: T31 ----------------------------------------------------------------


async def test_a_call_of_a_session_without_a_grant_reaches_no_upstream(fresh: Turned) -> None:
    await fresh.refused("no-grant")
    assert "no living grant of the session" in fresh.said()


async def test_a_granted_session_is_served_and_only_at_its_upstream_t31(fresh: Turned) -> None:
    """T31: re-targeted."""
    fresh.link.driver.grant(fresh.link.signed(fresh.grant()))
    await fresh.served("granted")
    await fresh.refused("retargeted", upstream=OTHER)
    await fresh.refused("another-session", session="f" * 32)
    fresh.link.driver.grant(fresh.link.signed(fresh.grant(upstream=OTHER)))
    await fresh.refused("moved", upstream=OTHER)
    await fresh.served("not-moved")


@pytest.mark.parametrize(
    "changed",
    [{"tunnel": "office"}, {"instance": "f" * 32}, {"epoch": 0}],
    ids=["tunnel", "instance", "link"],
)
async def test_a_grant_for_elsewhere_is_worth_nothing_here_t31(
    fresh: Turned, changed: dict[str, Any]
) -> None:
    """T31: replayed from another tunnel, another client or an earlier link."""
    fresh.link.driver.grant(fresh.link.signed(fresh.grant(), **changed))
    await fresh.refused("elsewhere-" + next(iter(changed)))
    assert "a grant for another link" in fresh.said()
    assert not fresh.link.lost, "the link goes on"


async def test_an_expired_grant_is_worth_nothing_t31(fresh: Turned) -> None:
    """T31: expired."""
    old = time.time() - 1000
    fresh.link.driver.grant(fresh.link.signed(fresh.grant(issued=old, expires=old + 900)))
    await fresh.refused("expired")


async def test_a_forged_grant_ends_the_link_t31(fresh: Turned) -> None:
    """T31: forged."""
    good = fresh.link.signed(fresh.grant())
    forged = PrivateKey.generate().sign(b"mcp-tunnel grant v1\n" + good[64:]) + good[64:]
    fresh.link.driver.grant(forged)
    fresh.call("forged")
    await eventually(lambda: fresh.link.lost)
    assert fresh.link.lost[0][0] == CloseCode.POLICY
    assert fresh.scene.upstream.calls("forged") == []


async def test_a_recorded_grant_is_worth_nothing_after_a_revocation_t31(fresh: Turned) -> None:
    """T31: replayed on the same link, and on the next one."""
    recorded = fresh.link.signed(fresh.grant())
    fresh.link.driver.grant(recorded)
    await fresh.served("before")
    fresh.link.driver.revoke(1, SESSION)
    await fresh.refused("revoked")
    fresh.link.driver.grant(recorded)
    await fresh.refused("replayed")
    await fresh.new_link()
    fresh.link.driver.grant(recorded)
    await fresh.refused("replayed-later")


async def test_the_status_says_how_many_sessions_are_granted(fresh: Turned) -> None:
    for at in range(3):
        fresh.link.driver.grant(fresh.link.signed(fresh.grant(session=f"{at:032x}")))
    await fresh.served("counted", session="0" * 32)
    shown = json.loads(await fresh.scene.lab.client_command("status", "--json"))
    assert shown["grants"] == 3


async def test_a_grant_that_ends_cuts_the_call_that_runs_though_the_relay_is_silent(
    fresh: Turned,
) -> None:
    now = time.time()
    fresh.link.driver.grant(fresh.link.signed(fresh.grant(issued=now, expires=now + 3)))
    lane = fresh.link.call(SESSION, SERVER, call("driven", case="over", modern=False))
    seen = await fresh.scene.upstream.arrived("over")
    await eventually(lambda: lane.resets)
    assert lane.resets[0][0] is ResetCode.REVOKED
    await fresh.scene.upstream.until(seen.closed.is_set)
    await fresh.refused("over-now")


# A real relay ------------------------------------------------------------------------------------


async def test_a_blackholed_relay_cannot_keep_a_session_alive() -> None:
    """The client ends the upstream's work by its own clock."""
    async with TcpProxy() as proxy, open_scene(via=proxy, links=1) as scene:
        made = await scene.quick_grant(4.0)
        async with made.agent.open(call("driven", id=1, case="dark")) as reply:
            seen = await running(scene, reply, "dark")
            proxy.stall()
            await scene.upstream.until(seen.closed.is_set)
            assert "grant over" in scene.log("client.log")
            (over,) = records(scene.lab.folder / "client" / "state" / "audit", "grant.over")
            assert over["session"] == made.id
            proxy.cut()


@asynccontextmanager
async def raw_client(user: str = "ada") -> AsyncIterator[tuple[Scene, Grantee, RawLink, Member]]:
    """A real relay, a session, and a client that reads what it is told."""
    async with open_scene(start=False, links=1) as scene:
        made = Stage(scene, Member())
        made.honest = await made.member()
        if user != "ada":
            groups = ["--group", "staff", "--group", "admins"]
            await scene.lab.relay_json("user", "add", user, "--no-password", *groups)
        session = await scene.grant(user=user)
        async with joined(made.port, made.honest) as link:
            link.catalog(SERVER)
            await scene.linked()
            yield scene, session, link, made.honest


async def beyond_bodies(link: RawLink) -> Frame:
    """Return the next frame that is no body: a write's comes by itself, once its intent is kept."""
    while (found := await link.next_frame())[0] is FrameType.DATA:
        pass
    return found


async def granted(link: RawLink) -> dict[str, Any]:
    """Return the next grant, which must come before the next stream."""
    kind, _, _, payload = await beyond_bodies(link)
    assert kind is FrameType.GRANT, kind
    found: dict[str, Any] = json.loads(payload[64:])
    return found


async def opened(link: RawLink) -> int:
    """Return the next stream, before which no grant may come."""
    kind, _, stream, _ = await beyond_bodies(link)
    assert kind in (FrameType.OPEN, FrameType.REQUEST), kind
    return stream


async def test_a_client_is_told_once_and_again_when_a_user_left_a_group_s30() -> None:
    """S30: the next call is judged by what the user is now."""
    async with raw_client("grace") as (scene, session, link, member):
        async with session.agent.open(call("echo", id=1)) as reply:
            told = await granted(link)
            assert (told["session"], told["user"]) == (session.id, "grace")
            assert told["groups"] == ["admins", "staff"]
            assert (told["instance"], told["epoch"]) == (member.instance, member.counter)
            link.answer(await opened(link), b"{}")
            await reply.end()
        async with session.agent.open(call("echo", id=2)) as reply:
            link.answer(await opened(link), b"{}")
            await reply.end()
        await scene.lab.relay_json("user", "change", "grace", "--group", "staff")
        async with session.agent.open(call("echo", id=3)) as reply:
            assert (await granted(link))["groups"] == ["staff"]
            link.answer(await opened(link), b"{}")
            await reply.end()


async def test_a_user_of_whom_no_grant_can_be_made_is_refused_and_harms_nobody() -> None:
    """More groups than a grant holds: neither a quota nor the relay goes with the call."""
    async with raw_client("grace") as (scene, session, link, _):
        groups = [f"{number:02}" + "\u0436" * 150 for number in range(60)]
        words = [word for group in groups for word in ("--group", group)]
        await scene.lab.relay_json("user", "change", "grace", *words)
        for number in range(300):  # more than may be under way at a time
            reply = await session.agent.ask(call("echo", id=number))
            assert reply.status == 503
            assert reply.document["error"]["data"]["delivery"] == "never_sent"
        await scene.lab.relay_json("user", "change", "grace", "--group", "staff")
        async with session.agent.open(call("echo", id=1)) as last:
            assert (await granted(link))["groups"] == ["staff"]
            link.answer(await opened(link), b"{}")
            assert (await last.end()).status == 200


async def test_a_client_that_has_no_grant_gets_another_before_the_next_call() -> None:
    async with raw_client() as (_, session, link, _):
        async with session.agent.open(call("echo", id=1)) as reply:
            first = await granted(link)
            gone = encode_reset(ResetCode.NO_GRANT, "")
            link.frame(FrameType.RESET, await opened(link), gone)
            await reply.end()
            assert reply.status == 503
            assert reply.document["error"]["data"]["delivery"] == "never_sent"
        async with session.agent.open(call("echo", id=2)) as reply:
            assert (await granted(link))["issued"] > first["issued"]
            link.answer(await opened(link), b"{}")
            await reply.end()


async def test_a_call_that_a_client_wants_approved_is_answered_as_its_tool_would() -> None:
    async with raw_client() as (_, session, link, _):
        async with session.agent.open(call("echo", id=1)) as reply:
            await granted(link)
            detail = {
                "rule": "writes",
                "class": "write",
                "sha256": "",
                "policy": "",
                "users": ["x"],
            }
            asked = encode_reset(ResetCode.NEEDS_APPROVAL, json.dumps(detail))
            link.frame(FrameType.RESET, await opened(link), asked)
            await reply.end()
        assert (reply.status, reply.document["id"]) == (200, 1)
        assert reply.document["result"]["isError"] is True
        assert b"approval pending" in reply.body
        assert b"writes" not in reply.body, "no rule text"
