"""A program that hangs, or whose control socket is gone, is not taken for one that does not run."""

import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import pytest_asyncio

from tests.helpers.tunnel import CommandError, Lab, Program
from tests.integration.scene import SERVER, Scene, open_scene

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene() -> AsyncIterator[Scene]:
    async with open_scene() as made:
        yield made


@contextmanager
def stopped(process: Program | None) -> Iterator[int]:
    """Have a program hang as long as the block runs; yields its number."""
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGCONT)


async def doctored(lab: Lab, program: str) -> tuple[dict[str, dict[str, Any]], str]:
    """Have a doctor look that finds something; returns its lines, and the one that is broken."""
    ask = lab.client_command if program == "client" else lab.relay_command
    with pytest.raises(CommandError) as failed:
        await ask("doctor", "--json")
    found = json.loads(failed.value.stdout)
    return {line["name"]: line for line in found["lines"]}, found["broken"]


async def refused(ask: Any) -> str:
    """Ask for the status and return why there is none."""
    with pytest.raises(CommandError) as failed:
        await ask("status")
    assert failed.value.code == 69
    return failed.value.stderr


async def test_a_client_that_is_stopped(scene: Scene) -> None:
    with stopped(scene.lab.client) as number:
        lines, broken = await doctored(scene.lab, "client")
        said = await refused(scene.lab.client_command)
    assert broken == "daemon"
    daemon = lines["daemon"]
    assert (daemon["code"], daemon["next"]) == ("MT2107", f"kill -CONT {number}")
    assert f"process {number}" in daemon["cause"]
    assert [lines[each]["note"] for each in ("signature", "round trip")] == ["needs: daemon"] * 2
    assert lines["relay"]["outcome"] == lines[f"upstream {SERVER}"]["outcome"] == "PASS"
    assert said.startswith("MT2107: ")
    assert f"kill -CONT {number}" in said
    await scene.linked()


async def test_a_client_whose_socket_is_gone(scene: Scene) -> None:
    socket = scene.lab.client_config.parent / "state" / "control.sock"
    kept = socket.with_name("kept.sock")
    socket.rename(kept)
    try:
        lines, broken = await doctored(scene.lab, "client")
        said = await refused(scene.lab.client_command)
    finally:
        kept.rename(socket)
    assert (broken, lines["daemon"]["code"]) == ("daemon", "MT2107")
    assert lines["signature"]["outcome"] == "SKIP"
    assert said.startswith("MT2107: ")
    assert "systemctl restart tunnel-client" in said
    assert "control.sock" in said


async def test_a_relay_that_is_stopped(scene: Scene) -> None:
    with stopped(scene.lab.relay) as number:
        lines, broken = await doctored(scene.lab, "relay")
        said = await refused(scene.lab.relay_command)
    assert (broken, lines["relay"]["code"]) == ("relay", "MT1011")
    assert f"process {number}, which is stopped," in lines["relay"]["cause"]
    assert [lines[each]["note"] for each in ("listeners", "public url")] == ["needs: relay"] * 2
    assert lines["store"]["outcome"] == "PASS"
    assert said.startswith("MT1011: ")
    assert f"process {number}, which is stopped," in said
    assert "kill -CONT" in said
    await scene.linked()


async def test_a_relay_whose_socket_is_gone(scene: Scene) -> None:
    socket = scene.lab.folder / "relay" / "state" / "control.sock"
    kept = socket.with_name("kept.sock")
    socket.rename(kept)
    try:
        lines, broken = await doctored(scene.lab, "relay")
        said = await refused(scene.lab.relay_command)
    finally:
        kept.rename(socket)
    assert (broken, lines["relay"]["code"]) == ("relay", "MT1011")
    assert lines["listeners"]["outcome"] == "SKIP"
    assert f"process {scene.lab.relay.pid if scene.lab.relay else 0} holds" in said
