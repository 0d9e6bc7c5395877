"""Copied state, a disabled tunnel, a second process: the client stops and says what to do."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
import pytest_asyncio

from tests.helpers.agent import call
from tests.helpers.tunnel import BIN, TUNNEL, CommandError, Program, end
from tests.integration.scene import LINKS, OTHER, SERVER, Scene, eventually, open_scene

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

NOT_PERMITTED, UNAVAILABLE = 77, 69


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def alone() -> AsyncIterator[Scene]:
    async with open_scene() as scene:
        yield scene


async def ended(process: Program | None) -> int:
    """Wait until a program ends by itself."""
    assert process is not None
    with anyio.fail_after(30):
        return await process.wait()


async def locked(scene: Scene) -> str | None:
    shown = await scene.lab.relay_json("tunnel", "show", TUNNEL)
    (instance,) = shown["tunnel"]["instances"]
    found: str | None = instance["locked"]
    return found


async def test_a_second_process_on_the_same_state_is_refused(alone: Scene) -> None:
    with pytest.raises(CommandError) as refused:
        await alone.lab.client_command("run")
    assert refused.value.code == UNAVAILABLE
    assert "MT2103" in refused.value.stderr
    await alone.serves()


async def test_a_disabled_tunnel_stops_its_client_and_its_sessions_at_once(alone: Scene) -> None:
    async with alone.agent.open(call("driven", id=4, case="disabled")) as reply:
        seen = await alone.upstream.arrived("disabled")
        result = await alone.lab.relay_json("tunnel", "disable", TUNNEL)
        assert result["closed"] == LINKS
        await reply.end()
        assert reply.error["id"] == 4
        assert reply.error["data"] == {"origin": "relay", "delivery": "unknown"}
        await alone.upstream.until(seen.closed.is_set)
    assert await ended(alone.lab.client) == NOT_PERMITTED
    assert "MT2501" in alone.log("client.log")
    assert (await alone.agent.ask(call("echo"))).status == 401
    await alone.lab.relay_json("tunnel", "enable", TUNNEL)
    await alone.lab.start_client([SERVER, OTHER])
    await alone.linked()
    await alone.serves()
    assert len(alone.upstream.calls("disabled")) == 1


async def test_a_copied_state_folder_ends_in_a_locked_key_and_a_clear_word(alone: Scene) -> None:
    lab = alone.lab
    copied = lab.folder / "copied"
    await asyncio.to_thread(copy_client, lab.client_config.parent, copied)
    log = lab.folder / "copy.log"
    copy = await run_copy(alone, copied, log)
    try:
        # The copy is newer, so it takes the links over. The first client dials once more, and its
        # counter is behind: nobody can tell who is rightful, and both stop.
        assert await ended(lab.client) == NOT_PERMITTED
        assert await ended(copy) == NOT_PERMITTED
    finally:
        await end(copy)
    for said in (alone.log("client.log"), log.read_text()):
        assert "MT2502" in said
        assert "enroll" in said
    assert await locked(alone)
    assert "MT1031" in alone.log("relay.log")
    assert "link.cloned" in await lab.relay_command("audit", "tail")
    await eventually(lambda: unlinked(alone))
    # One that is started again is told so, and no more.
    with pytest.raises(CommandError) as refused:
        await lab.client_command("run")
    assert refused.value.code == NOT_PERMITTED


async def unlinked(scene: Scene) -> bool:
    return bool((await scene.ready())["links"] == 0)


def copy_client(source: Path, target: Path) -> None:
    """Copy a client as somebody would who clones a machine."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.sock"))
    config = target / "client.toml"
    config.write_text(config.read_text().replace(str(source), str(target)))


async def run_copy(scene: Scene, folder: Path, log: Path) -> asyncio.subprocess.Process:
    with log.open("ab") as sink:
        return await asyncio.create_subprocess_exec(
            *(str(BIN / "tunnel-client"), "run", "--config", str(folder / "client.toml")),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env={**os.environ, **scene.lab.environment},
            start_new_session=True,
        )
