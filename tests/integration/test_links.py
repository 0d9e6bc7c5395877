"""A client with two links: one is cut, lost, drained or refused, and agents do not notice."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest
import pytest_asyncio

from shared.errors import CloseCode, ResetCode
from shared.link.driver import STREAMS_TOGETHER
from shared.wire.codec import encode_reset
from shared.wire.frames import FrameType
from shared.wire.limits import MAX_LINKS
from tests.helpers.agent import call
from tests.helpers.raw_link import DEADLINE, RawLink, joined, upgraded
from tests.helpers.tcp_proxy import TcpProxy
from tests.helpers.tunnel import end
from tests.integration.hostile import Stage
from tests.integration.scene import LINKS, OTHER, SERVER, Scene, eventually, open_scene
from tests.integration.test_link_failures import UNKNOWN
from tests.integration.test_mcp_sessions import TOOL, begin, named

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

PROCESS, NEXT = "a" * 32, "b" * 32
SEVERAL = 10


class Ways:
    """A scene whose client has a way of its own to the relay for each link, the first one busy."""

    def __init__(self, scene: Scene, first: TcpProxy, second: TcpProxy) -> None:
        self.scene = scene
        self.first = first
        self.second = second

    async def links(self) -> list[dict[str, Any]]:
        """Return the links as the relay sees them."""
        found: list[dict[str, Any]] = (await self.scene.lab.relay_json("status"))["links"]
        return found

    async def status(self) -> dict[str, Any]:
        """Return what the client says."""
        found: dict[str, Any] = json.loads(await self.scene.lab.client_command("status", "--json"))
        return found

    def lose(self, proxy: TcpProxy) -> None:
        """Cut one way, for as long as nobody mends it."""
        proxy.refusing = True
        proxy.cut()

    async def lost(self, proxy: TcpProxy) -> None:
        """Cut one way, and wait until the client cannot come back by it."""
        before = proxy.turned_away
        self.lose(proxy)
        await eventually(lambda: proxy.turned_away > before)

    async def whole(self) -> None:
        """Mend all, and wait for both links."""
        self.first.refusing = self.second.refusing = False
        await self.scene.linked()
        await eventually(self._all_attached)

    async def _all_attached(self) -> bool:
        links = await self.links()
        return len(links) == LINKS and not any(link["detached"] for link in links)


@asynccontextmanager
async def two_ways() -> AsyncIterator[Ways]:
    """Start everything, with a client that has two links, each through a proxy of its own."""
    limits = {"limits.resume_closed_seconds": "60s", "limits.resume_seconds": "60s"}
    async with (
        TcpProxy() as first,
        TcpProxy() as second,
        open_scene(limits, via=(first, second)) as scene,
    ):
        yield Ways(scene, first, second)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made() -> AsyncIterator[Ways]:
    async with two_ways() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def ways(made: Ways) -> Ways:
    await made.whole()
    made.scene.upstream.seen.clear()
    return made


async def test_both_ends_show_both_links(ways: Ways) -> None:
    links = await ways.links()
    assert [link["slot"] for link in links] == [0, 1]
    assert len({link["instance"] for link in links}) == 1
    shown = await ways.status()
    assert shown["connected"]
    assert [(each["slot"], each["connected"]) for each in shown["links"]] == [(0, True), (1, True)]
    ports = [each["relay"].rpartition(":")[2] for each in shown["links"]]
    assert ports == [str(ways.first.port), str(ways.second.port)]


async def test_while_one_link_is_cut_calls_go_over_the_other_and_none_waits(ways: Ways) -> None:
    """The first way stays shut until all calls are answered; the call that was on it goes on."""
    scene = ways.scene
    async with scene.agent.open(call("driven", id=1, case="held")) as reply:
        seen = await scene.upstream.arrived("held")
        await ways.lost(ways.first)
        for at in range(SEVERAL):
            assert (await scene.agent.ask(call("echo", case=f"meanwhile-{at}"))).status == 200
        assert len([one for one in scene.upstream.seen if one.case]) == SEVERAL + 1
        ways.first.refusing = False
        await seen.result({"still": "here"})
        assert (await reply.end()).document["result"] == {"still": "here"}


async def test_an_mcp_session_goes_on_over_the_other_link(ways: Ways) -> None:
    scene = ways.scene
    name = await begin(scene.agent)
    await ways.lost(ways.first)
    assert (await scene.agent.ask(TOOL, headers=named(name))).status == 200
    async with scene.agent.open(method="GET", headers=named(name)) as stream:
        (pushed,) = await scene.upstream.streams()
        await pushed.event_stream()
        await pushed.event({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
        await stream.text(b"notifications/message")
    ended = await scene.agent.ask(method="DELETE", headers=named(name))
    assert ended.status == 204
    assert ways.first.refusing


async def test_a_revoke_cuts_on_both_links_and_says_so(ways: Ways) -> None:
    scene = ways.scene
    grant = await scene.grant()
    async with grant.agent.open(call("driven", id=1, case="on-first")) as one:
        await scene.upstream.arrived("on-first")
        await ways.lost(ways.first)
        async with grant.agent.open(call("driven", id=2, case="on-second")) as two:
            await scene.upstream.arrived("on-second")
            await ways.whole()
            assert [link["streams"] for link in await ways.links()] == [1, 1]
            cut = (await scene.lab.relay_json("session", "revoke", grant.id))["cut"]
            for reply in (one, two):
                assert (await reply.end()).error["data"] == UNKNOWN
    assert (cut["streams"], cut["links"], cut["silent"]) == (2, LINKS, [])
    (client,) = cut["clients"]
    assert (client["links"], client["ended"]) == (LINKS, 2)
    for case in ("on-first", "on-second"):
        (seen,) = scene.upstream.calls(case)
        await scene.upstream.until(seen.closed.is_set)


async def test_a_revoke_while_one_link_is_cut_ends_its_calls_through_the_other(ways: Ways) -> None:
    """The upstream's work ends though the order cannot come by the link that carries it."""
    scene = ways.scene
    grant = await scene.grant()
    async with grant.agent.open(call("driven", id=1, case="cut-off")) as reply:
        seen = await scene.upstream.arrived("cut-off")
        await ways.lost(ways.first)
        cut = (await scene.lab.relay_json("session", "revoke", grant.id))["cut"]
        await scene.upstream.until(seen.closed.is_set)
        assert (await reply.end()).error["data"] == UNKNOWN
    assert (cut["links"], cut["silent"]) == (1, [])
    assert cut["clients"][0]["ended"] == 1
    assert ways.first.refusing


@pytest.mark.slow
async def test_calls_that_never_arrived_go_on_though_their_client_knows_of_none() -> None:
    """The connection died without a word while nothing ran: only the relay knows of its calls."""
    async with (
        TcpProxy() as first,
        TcpProxy() as second,
        open_scene(via=(first, second)) as scene,
    ):
        ways = Ways(scene, first, second)
        await ways.whole()
        first.strand()
        calls = [asyncio.ensure_future(scene.agent.ask(call("echo", case="into"))) for _ in "abc"]
        await eventually(lambda: "is stuck and another one works" in scene.log("client.log"))
        assert [(await each).status for each in calls] == [200] * 3
        assert len(scene.upstream.calls("into")) == 3
        assert [link["resumed"] for link in await ways.links()] == [1, 0]


async def test_a_program_that_was_started_anew_takes_the_place_of_both_links(ways: Ways) -> None:
    scene = ways.scene
    before = {link["epoch"] for link in await ways.links()}
    assert scene.lab.client is not None
    os.killpg(scene.lab.client.pid, signal.SIGKILL)
    await scene.lab.client.wait()
    await scene.lab.start_client([SERVER, OTHER])
    await ways.whole()
    assert min(link["epoch"] for link in await ways.links()) > max(before)
    await scene.serves()


async def test_streams_beyond_the_share_of_one_link_go_over_the_next(ways: Ways) -> None:
    scene, more = ways.scene, 8
    async with AsyncExitStack() as stack:
        for number in range(STREAMS_TOGETHER + more):
            message = call("driven", id=number, case="spread")
            await stack.enter_async_context(scene.agent.open(message))
        await scene.upstream.arrived("spread", STREAMS_TOGETHER + more)
        assert [link["streams"] for link in await ways.links()] == [STREAMS_TOGETHER, more]
    await eventually(lambda: _nothing_runs(ways))


async def _nothing_runs(ways: Ways) -> bool:
    return not any(link["streams"] for link in await ways.links())


async def test_calls_of_a_link_that_is_lost_are_told_and_new_ones_do_not_wait() -> None:
    async with (
        TcpProxy() as first,
        TcpProxy() as second,
        open_scene({"limits.resume_seconds": "0s"}, via=(first, second)) as scene,
    ):
        ways = Ways(scene, first, second)
        await ways.whole()
        async with scene.agent.open(call("driven", id=1, case="gone")) as reply:
            await scene.upstream.arrived("gone")
            ways.lose(first)
            assert (await reply.end()).error["data"] == UNKNOWN
        for at in range(SEVERAL):
            await scene.serves(case=f"after-{at}")
        assert (await scene.ready())["links"] == 1
        # What nobody lets in does not end a client that has another way.
        assert (await ways.status())["connected"]


@asynccontextmanager
async def three_ways(resume: str) -> AsyncIterator[tuple[Ways, TcpProxy]]:
    """Start everything, with a client that has two links and three addresses; yields the spare."""
    limits = {"limits.resume_closed_seconds": resume, "limits.resume_seconds": resume}
    async with (
        TcpProxy() as first,
        TcpProxy() as second,
        TcpProxy() as spare,
        open_scene(limits, via=(first, second, spare)) as scene,
    ):
        ways = Ways(scene, first, second)
        await ways.whole()
        yield ways, spare


async def test_with_more_addresses_than_links_no_call_waits_for_one_that_died() -> None:
    async with three_ways("60s") as (ways, spare):
        scene = ways.scene
        name = await begin(scene.agent)
        await ways.lost(ways.first)
        for at in range(SEVERAL):
            await scene.serves(case=f"meanwhile-{at}")
        assert (await scene.agent.ask(TOOL, headers=named(name))).status == 200
        assert [link["detached"] for link in await ways.links()] == [True, False]
        assert spare.taken == 0


async def test_a_link_goes_to_a_spare_address_when_its_own_died() -> None:
    async with three_ways("1s") as (ways, spare):
        ways.lose(ways.first)
        await eventually(lambda: spare.taken)
        await ways.scene.linked()
        await ways.scene.serves()
        assert ways.first.refusing


async def test_a_relay_that_takes_one_link_of_a_client_gets_one() -> None:
    async with open_scene({"limits.links_per_client": 1}, start=False) as scene:
        await scene.lab.start_client([SERVER, OTHER])
        await eventually(lambda: "MT2507" in scene.log("client.log"))
        await scene.linked(1)
        await scene.serves()
        assert "too many of one client" in scene.log("relay.log")
        await end(scene.lab.client)


async def test_a_link_that_was_refused_is_made_once_a_relay_takes_it() -> None:
    """One that has another limit was started anew, so the link that there was is over."""
    async with open_scene({"limits.links_per_client": 1}, start=False) as scene:
        await scene.lab.start_client([SERVER, OTHER])
        await eventually(lambda: "MT2507" in scene.log("client.log"))
        await end(scene.lab.relay)
        scene.lab.environment["TUNNEL_RELAY_LIMITS__LINKS_PER_CLIENT"] = "2"
        await scene.lab.start_relay()
        await scene.linked()


# What the relay lets in ---------------------------------------------------------------------------


async def answers(stage: Stage, link: RawLink) -> None:
    """See that the relay sends a call over this link, by choice or for want of another."""
    async with stage.agent.open(call("echo", id=7)) as reply:
        link.answer(await link.opened(), b'{"by":"this link"}')
        assert (await reply.end()).body == b'{"by":"this link"}'


async def test_links_of_one_process_live_beside_each_other(stage: Stage) -> None:
    port, mine, stranger = stage.port, stage.honest, await stage.member()
    async with joined(port, mine, process=PROCESS) as one:
        one.catalog(SERVER)
        async with joined(port, mine, process=PROCESS, slot=1) as two:
            await answers(stage, one)
            async with joined(port, mine, process=PROCESS, slot=1) as again:
                assert (await two.closed())[0] == CloseCode.REPLACED
                await answers(stage, one)
                async with joined(port, stranger, process=NEXT):
                    await answers(stage, one)
                async with joined(port, mine, process=NEXT) as anew:
                    assert (await one.closed())[0] == CloseCode.REPLACED
                    assert (await again.closed())[0] == CloseCode.REPLACED
                    anew.catalog(SERVER)
                    await answers(stage, anew)
    await stage.scene.linked(0)


async def test_calls_go_to_another_client_while_the_upstream_of_one_is_down(stage: Stage) -> None:
    """Each call that failed at once left the client without a load, so it got the next one too."""
    port, other = stage.port, await stage.member()
    async with (
        joined(port, stage.honest, process=PROCESS) as down,
        joined(port, other, process=NEXT) as well,
    ):
        down.catalog(SERVER)
        async with stage.agent.open(call("echo", id=1)) as reply:
            gone = encode_reset(ResetCode.UPSTREAM_UNREACHABLE, "nobody listens")
            down.frame(FrameType.RESET, await down.opened(), gone)
            assert (await reply.end()).status == 502
        well.catalog(SERVER)
        with anyio.fail_after(DEADLINE):
            await answers(stage, well)
    await stage.scene.linked(0)


async def test_an_older_client_has_one_link(stage: Stage) -> None:
    """It says nothing of a process and a slot."""
    async with joined(stage.port, stage.honest) as one, joined(stage.port, stage.honest) as two:
        assert (await one.closed())[0] == CloseCode.REPLACED
        two.catalog(SERVER)
        await answers(stage, two)
        async with joined(stage.port, stage.honest, process=PROCESS) as newer:
            assert (await two.closed())[0] == CloseCode.REPLACED
            newer.catalog(SERVER)
            await answers(stage, newer)
    await stage.scene.linked(0)


async def test_what_a_newer_client_says_besides_is_let_be(stage: Stage) -> None:
    async with upgraded(stage.port) as link:
        origin = f"ws://127.0.0.1:{stage.port}"
        hello = stage.honest.hello(origin, process=PROCESS, features=["links", "later"])
        await link.prove(stage.honest, hello, weight=7, zone={"name": "b"})
        await link.due(FrameType.READY)
        link.catalog(SERVER)
        await answers(stage, link)
    await stage.scene.linked(0)


async def test_another_process_cannot_go_on_with_a_link(stage: Stage) -> None:
    async with joined(stage.port, stage.honest, process=PROCESS) as first:
        changed = {"process": NEXT, "resume": first.name, "taken": 0}
        async with joined(stage.port, stage.honest, **changed) as second:
            assert second.resumed is None
            assert (await first.closed())[0] == CloseCode.REPLACED
    await stage.scene.linked(0)


async def test_a_slot_beyond_the_last_ends_the_handshake(stage: Stage) -> None:
    with pytest.raises((ConnectionError, anyio.EndOfStream, EOFError)):
        async with joined(stage.port, stage.honest, process=PROCESS, slot=MAX_LINKS):
            pass
    await stage.alive()
