"""A thief with a copy of the client's state: it takes the links over, and the key locks for both.

The thief is no `tunnel-client`: it never dials again, so it is the rightful one that shows the
relay that there are two.
"""

import os
import signal
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.errors import CloseCode
from shared.keys import PrivateKey
from tests.helpers.raw_link import Member, joined
from tests.helpers.tcp_proxy import TcpProxy
from tests.integration.scene import OTHER, SERVER, Scene, eventually, open_scene
from tests.integration.test_client_identity import NOT_PERMITTED, ended, locked

pytestmark = [pytest.mark.system, pytest.mark.asyncio]

BURNT = 5
RESTARTS = 3


def state_of(scene: Scene) -> Path:
    (found,) = scene.lab.client_config.parent.rglob("client.key")
    return found.parent


def counter_of(scene: Scene) -> int:
    return int((state_of(scene) / "counter").read_text())


def copied(scene: Scene) -> Member:
    """Take a copy of who the client is, as it is now."""
    folder = state_of(scene)
    key = PrivateKey.from_pem(SecretStr((folder / "client.key").read_text()))
    return Member(key, (folder / "instance").read_text().strip(), counter_of(scene))


async def stops_both(scene: Scene, thief: Member) -> None:
    """Have the thief take over; see that the key is locked for it and for the client at once."""
    async with joined(scene.lab.port, thief) as link:
        assert (await link.closed())[0] == CloseCode.REPLACED
    assert await ended(scene.lab.client) == NOT_PERMITTED
    assert "MT2502" in scene.log("client.log")
    assert "another connection uses this client's key" in scene.log("client.log")
    assert await locked(scene)
    assert scene.log("relay.log").count("MT1031") == 1
    assert (await scene.ready())["links"] == 0


async def test_a_thief_who_takes_over_both_links_stops_with_its_victim() -> None:
    async with open_scene() as scene:
        await stops_both(scene, copied(scene))
        # One link of the client asked for both: a second would have been turned away.
        assert "link_refused" not in scene.log("relay.log")


async def test_a_victim_whose_counter_ran_ahead_shows_one_that_the_thief_must_have_used() -> None:
    async with (
        TcpProxy() as first,
        TcpProxy() as second,
        open_scene(via=(first, second)) as scene,
    ):
        thief = copied(scene)
        second.refusing = True
        second.cut()
        # Each attempt takes a number, and proves none.
        await eventually(lambda: counter_of(scene) > thief.counter + BURNT)
        await stops_both(scene, thief)


async def test_a_client_that_is_started_anew_over_and_over_accuses_nobody() -> None:
    async with open_scene() as scene:
        for how in (signal.SIGKILL, signal.SIGTERM) * RESTARTS:
            before = scene.lab.client
            assert before is not None
            os.kill(before.pid, how)
            await ended(before)
            await scene.lab.start_client([SERVER, OTHER])
        await scene.linked()
        await scene.serves()
        assert await locked(scene) is None
        assert "MT1031" not in scene.log("relay.log")
        assert "another connection uses this client's key" not in scene.log("client.log")
