"""A client and relays that want it gone, say nothing, have no place, or are older."""

import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import pytest

from shared.errors import CloseCode
from shared.grant import Grant
from shared.link import handshake
from tests.helpers.agent import call
from tests.helpers.raw_relay import RawRelay, RawRelayLink, raw_relay
from tests.helpers.tunnel import TUNNEL, end
from tests.integration.scene import SERVER, Scene, eventually, open_scene
from tests.shared.link.ends import Lane
from tunnel_relay.keyfiles import read_relay_key

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

SESSION = "5" * 32


@dataclass
class Two:
    """A client and two relays that it may be on."""

    scene: Scene
    one: RawRelay
    two: RawRelay

    async def start(self) -> None:
        """Start the client."""
        lab = self.scene.lab
        lab.client = await lab._start("tunnel-client", "run", lab.client_config, "client.log")

    def call(self, link: RawRelayLink, case: str) -> Lane:
        """Have a relay send a call of a session that it granted."""
        now = time.time()
        whose = Grant(
            *(SESSION, "ada", "test", TUNNEL, SERVER, (), (), now, now + 600),
            *(link.instance, link.epoch),
        )
        link.driver.grant(link.signed(whose))
        return link.call(SESSION, SERVER, call("driven", case=case, modern=False))


@asynccontextmanager
async def two_relays(links: int = 1, *, begin: bool = True) -> AsyncIterator[Two]:
    async with open_scene(start=False, links=links) as scene:
        folder = scene.lab.folder
        key = read_relay_key(folder / "relay" / "state" / "relay.key")
        state = folder / "client" / "state"
        async with raw_relay(key, state) as one, raw_relay(key, state) as two:
            urls = [f"ws://127.0.0.1:{each.port}" for each in (one, two)]
            scene.lab.environment["TUNNEL_CLIENT_RELAY__URL"] = json.dumps(urls)
            pair = Two(scene, one, two)
            if begin:
                await pair.start()
            yield pair
            await end(scene.lab.client)


async def test_a_draining_relay_is_left_for_another_and_what_runs_there_ends_there() -> None:
    async with two_relays() as pair:
        before = await pair.one.linked()
        runs = pair.call(before, "runs")
        seen = await pair.scene.upstream.arrived("runs")
        before.driver.drain("another version is installed")
        after = await pair.two.linked()
        assert not before.lost
        await shows_both(pair)
        fresh = pair.call(after, "fresh")
        for case in ("runs", "fresh"):
            await (await pair.scene.upstream.arrived(case)).result({"case": case})
        await eventually(lambda: runs.ended and fresh.ended)
        assert not seen.closed.is_set()
        await eventually(lambda: before.lost)
        assert before.lost[0][0] == CloseCode.NORMAL
        assert not after.lost
        assert "the relay asks to move" in pair.scene.log("client.log")


async def shows_both(pair: Two) -> None:
    """See that the client says of the link that it left, and of the one that took over."""
    lab = pair.scene.lab
    shown = json.loads(await lab.client_command("status", "--json"))
    ports = [int(each["relay"].rpartition(":")[2]) for each in shown["links"]]
    assert ports == [pair.two.port, pair.one.port]
    assert [each["slot"] for each in shown["links"]] == [0, 0]
    assert [each["draining"] for each in shown["links"]] == [False, True]
    assert [each["streams"] for each in shown["links"]] == [0, 1]
    text = await lab.client_command("status")
    (line,) = [line for line in text.splitlines() if line.endswith("DRAINING")]
    assert f"127.0.0.1:{pair.one.port}: " in line


async def test_an_address_that_is_refused_for_good_is_left_out_until_none_is_left() -> None:
    async with two_relays() as pair:
        first = await pair.one.linked()
        first.driver.close(CloseCode.REVOKED, "not here")
        second = await pair.two.linked()
        assert "address given up" in pair.scene.log("client.log")
        second.driver.close(CloseCode.REVOKED, "nor here")
        assert pair.scene.lab.client is not None
        with anyio.fail_after(20):
            assert await pair.scene.lab.client.wait() == 77


async def test_a_relay_that_says_nothing_does_not_hold_up_the_link_to_another() -> None:
    """When it speaks at last, the counter of that handshake was overtaken: the key is not lost."""
    async with two_relays(links=2, begin=False) as pair:
        silent, other = pair.one, pair.two
        other.most, other.shut = 2, True
        silent.speak.clear()
        await pair.start()
        await eventually(lambda: silent.silent_to)
        other.shut = False
        second = await other.linked()
        assert "no link within" not in pair.scene.log("client.log")
        assert len(silent.silent_to) == 1
        silent.speak.set()
        first = await silent.linked()
        assert first.epoch > second.epoch
        assert not second.lost


async def test_an_older_relay_gets_one_link_and_a_newer_one_after_it_gets_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It knows nothing of links beside each other, and would take the second for a copied key."""
    async with two_relays(links=2, begin=False) as pair:
        relay, scene = pair.one, pair.scene
        relay.older, relay.most, pair.two.shut = True, 2, True
        url = json.dumps([f"ws://127.0.0.1:{relay.port}"])
        scene.lab.environment["TUNNEL_CLIENT_RELAY__URL"] = url
        with monkeypatch.context() as then:
            then.setattr(handshake, "FEATURES", frozenset())
            await pair.start()
            first = await relay.linked()
            await eventually(lambda: "MT2507" in scene.log("client.log"))
            asked = pair.call(first, "asked")
            await (await scene.upstream.arrived("asked")).result({})
            await eventually(lambda: asked.ended)
            assert len(relay.links) == 1
        relay.older = False
        first.driver.close(CloseCode.GOING_AWAY, "another version is installed")
        await relay.linked(3)
        assert [each.lost for each in relay.links[1:]] == [[], []]


async def test_a_link_that_was_refused_waits_and_sighup_has_it_tried() -> None:
    async with two_relays(links=2) as pair:
        scene = pair.scene
        await pair.one.linked()
        await eventually(lambda: "MT2507" in scene.log("client.log"))
        shown = json.loads(await scene.lab.client_command("status", "--json"))
        assert shown["links"][1]["retry_at"] - time.time() > 60
        pair.two.most = 2
        assert scene.lab.client is not None
        scene.lab.client.send_signal(signal.SIGHUP)
        assert (await pair.two.linked()).instance == (await pair.one.linked()).instance
