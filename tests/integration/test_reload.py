"""SIGHUP says what a restart would take up of a configuration, or refuse; what runs goes on."""

import signal
from pathlib import Path

import pytest

from tests.helpers.agent import call
from tests.helpers.tunnel import Program
from tests.integration.scene import Scene, eventually, open_scene

pytestmark = pytest.mark.system


async def test_a_changed_configuration_is_told_of_and_a_broken_one_too() -> None:
    async with (
        open_scene() as scene,
        scene.agent.open(call("driven", case="goes-on")) as reply,
    ):
        seen = await scene.upstream.arrived("goes-on")
        await seen.event_stream()
        client, relay = scene.lab.client_config, scene.lab.relay_config
        with_lease = client.read_text().replace("[relay]\n", "[relay]\nlease = 20\n")
        with_links = relay.read_text() + "[limits]\nlinks = 7\n"
        await hears(
            scene, "client", with_lease, "settings changed that need a restart", "relay.lease"
        )
        await hears(scene, "client", "lease =", "the one before holds", "MT2001: ", "not TOML")
        await hears(scene, "relay", with_links, "settings_need_restart", "keys=limits.links")
        await hears(scene, "relay", "links =", "configuration_unusable", "MT1001", "not TOML")
        await seen.event({"n": 1})
        await reply.text(b'"n"')
        await scene.serves()


async def hears(scene: Scene, program: str, text: str, *told: str) -> None:
    """Give a program another configuration and wait until one line of its log says all this."""
    programs: dict[str, tuple[Program | None, Path]] = {
        "client": (scene.lab.client, scene.lab.client_config),
        "relay": (scene.lab.relay, scene.lab.relay_config),
    }
    process, config = programs[program]
    assert process is not None
    config.write_text(text)
    process.send_signal(signal.SIGHUP)

    def said() -> bool:
        lines = scene.log(f"{program}.log").splitlines()
        return any(all(each in line for each in told) for line in lines)

    await eventually(said)
