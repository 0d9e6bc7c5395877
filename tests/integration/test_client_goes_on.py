"""What is wrong for a moment does not end a client that had a link: it goes on dialling."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from tests.helpers.raw_relay import RawRelay, raw_relay
from tests.helpers.stranger import stranger
from tests.helpers.tcp_proxy import TcpProxy
from tests.helpers.tls import Authority
from tests.helpers.tunnel import end
from tests.integration.scene import Scene, eventually, open_scene
from tunnel_relay.keyfiles import read_relay_key

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]


@asynccontextmanager
async def secured() -> AsyncIterator[tuple[Scene, RawRelay, Authority]]:
    """Have a relay with a certificate of a private authority, and a client that names it."""
    authority = Authority()
    async with open_scene(start=False, links=1) as scene:
        folder = scene.lab.folder
        key = read_relay_key(folder / "relay" / "state" / "relay.key")
        state, tls = folder / "client" / "state", authority.server("localhost")
        async with raw_relay(key, state, tls) as relay:
            scene.lab.environment["TUNNEL_CLIENT_RELAY__URL"] = json.dumps([relay.url])
            scene.lab.environment["TUNNEL_CLIENT_RELAY__CA_FILE"] = str(folder / "ca.pem")
            yield scene, relay, authority
            await end(scene.lab.client)


async def start(scene: Scene) -> None:
    lab = scene.lab
    lab.client = await lab._start("tunnel-client", "run", lab.client_config, "client.log")


async def test_a_ca_file_that_is_cut_short_is_waited_for_by_a_client_that_had_a_link() -> None:
    async with secured() as (scene, relay, authority):
        ca_file = authority.write(scene.lab.folder / "ca.pem")
        await start(scene)
        link = await relay.linked()
        ca_file.write_text("")
        link.driver.give_up("the wire was cut")
        await eventually(lambda: "cannot read CA file" in scene.log("client.log"))
        assert "dialling again" in scene.log("client.log").splitlines()[-1]
        # Rotated, too: the next dial reads what the file says then.
        authority.write(ca_file)
        await relay.linked(2)
        assert scene.lab.client is not None
        assert scene.lab.client.returncode is None
        assert "given up" not in scene.log("client.log")


async def test_a_ca_file_that_is_none_from_the_start_ends_the_client() -> None:
    async with secured() as (scene, _, _):
        (scene.lab.folder / "ca.pem").write_text("")
        await start(scene)
        assert scene.lab.client is not None
        with anyio.fail_after(30):
            assert await scene.lab.client.wait() == 78
        assert "MT2206: cannot read CA file" in scene.log("client.log")


async def test_a_balancer_that_leads_astray_for_a_while_does_not_end_the_client() -> None:
    async with (
        TcpProxy() as balancer,
        open_scene(via=balancer, links=1) as scene,
        stranger() as port,
    ):
        relay, balancer.target = balancer.target, port
        balancer.cut()
        there = f"MT2702: something else than a relay answers at 127.0.0.1:{balancer.port}"
        await eventually(lambda: there in scene.log("client.log"))
        balancer.target = relay
        await scene.serves()
        assert scene.lab.client is not None
        assert scene.lab.client.returncode is None
        assert "MT2503" not in scene.log("client.log")
