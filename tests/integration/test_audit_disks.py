"""The logs of both ends when their disk turns read-only, as a kernel does after an error."""

import json
from pathlib import Path

import pytest

from tests.helpers.agent import Agent, call
from tests.helpers.audit_log import records
from tests.helpers.disks import ext4_disk, repaired, turn_read_only, unwritable
from tests.helpers.tunnel import Lab, end, free_port
from tests.integration.policies import desk_upstream
from tests.integration.scene import OTHER, SERVER, Scene, eventually, open_scene
from tests.integration.test_audit_client import pinned
from tests.integration.test_audit_faults import NEVER_SENT, classified, one_chain, said, status

pytestmark = [pytest.mark.slow, pytest.mark.system]


async def refused(scene: Scene) -> bool:
    return (await scene.agent.ask(call("open_ticket", case="noticing"))).status == 503


async def verified(lab: Lab, log: Path) -> bool:
    out = await lab._run("tunnel-client", "audit", "verify", "--folder", str(log), "--json")
    return bool(json.loads(out)["ok"])


def has_whole_calls(log: Path) -> None:
    """Every number once, and every intent ended."""
    found = records(log)
    one_chain(found)
    intents = [each["call"] for each in found if each["kind"] == "call.intent"]
    ends = [each["call"] for each in found if each["kind"] == "call.completion"]
    assert sorted(intents) == sorted(ends)
    assert found[-1]["kind"] == "audit.closed"


async def test_a_clients_disk_that_turned_read_only_lets_nothing_through(tmp_path: Path) -> None:
    """A08: reads neither, health says why, and on a repaired disk the log goes on."""
    disk, port = tmp_path / "disk", free_port()

    def prepare(lab: Lab) -> None:
        pinned(lab)
        lab.environment["TUNNEL_CLIENT_AUDIT__FOLDER"] = str(disk / "log")
        lab.environment["TUNNEL_CLIENT_HEALTH__LISTEN"] = f"127.0.0.1:{port}"

    with ext4_disk(tmp_path / "image", disk):
        async with open_scene(prepare=prepare, upstream=desk_upstream()) as scene:
            await classified(scene)
            assert (await scene.agent.ask(call("open_ticket", case="before"))).status == 200
            health = Agent(port, "/readyz", None)
            assert (await health.ask(method="GET")).status == 200
            turn_read_only(disk)
            await eventually(lambda: refused(scene))
            for name in ("open_ticket", "get_ticket"):
                assert said(await scene.agent.ask(call(name, case="after"))) == (503, NEVER_SENT)
            assert scene.upstream.calls("after") == []
            assert "Read-only" in (await status(scene.lab))["failing"]
            told = await health.ask(method="GET")
            assert (told.status, told.document["reason"]) == (503, "audit")
            await end(scene.lab.client)
            repaired(tmp_path / "image", disk)
            await scene.lab.start_client([SERVER, OTHER])
            assert (await scene.agent.ask(call("open_ticket", case="again"))).status == 200
            await end(scene.lab.client)
            has_whole_calls(disk / "log")
            assert await verified(scene.lab, disk / "log")


async def test_a_relays_disk_that_turned_read_only_lets_only_reads_through_when_told_so(
    tmp_path: Path,
) -> None:
    """A08: what may change something never leaves, and `readyz` says why."""
    disk = tmp_path / "disk"

    def prepare(lab: Lab) -> None:
        pinned(lab)
        lab.environment["TUNNEL_RELAY_AUDIT__FOLDER"] = str(disk / "log")
        lab.environment["TUNNEL_RELAY_AUDIT__READS_WITHOUT"] = "true"

    with ext4_disk(tmp_path / "image", disk):
        async with open_scene(prepare=prepare, upstream=desk_upstream()) as scene:
            await classified(scene)
            assert (await scene.agent.ask(call("open_ticket", case="before"))).status == 200
            turn_read_only(disk)
            await eventually(lambda: refused(scene))
            assert (await scene.ready())["reason"] == "audit"
            write = await scene.agent.ask(call("open_ticket", case="write"))
            assert said(write) == (503, NEVER_SENT)
            assert scene.upstream.calls("write") == []
            assert (await scene.agent.ask(call("get_ticket", case="read"))).status == 200
            assert len(scene.upstream.calls("read")) == 1
            await end(scene.lab.relay)
            repaired(tmp_path / "image", disk)
            await scene.lab.start_relay()
            await scene.linked()
            assert (await scene.ready())["reason"] is None
            assert (await scene.agent.ask(call("open_ticket", case="again"))).status == 200
            await end(scene.lab.relay)
            has_whole_calls(disk / "log")
            assert await verified(scene.lab, disk / "log")


@pytest.mark.parametrize("program", ["client", "relay"])
async def test_what_no_file_takes_is_refused_until_it_does_again_without_a_restart(
    tmp_path: Path, program: str
) -> None:
    """A08: at either end, reads too, and the gap is one record."""
    disk, port = tmp_path / "disk", free_port()
    log = disk / "log"

    def prepare(lab: Lab) -> None:
        pinned(lab)
        lab.environment[f"TUNNEL_{program.upper()}_AUDIT__FOLDER"] = str(log)
        lab.environment["TUNNEL_CLIENT_HEALTH__LISTEN"] = f"127.0.0.1:{port}"

    with ext4_disk(tmp_path / "image", disk):
        async with open_scene(prepare=prepare, upstream=desk_upstream()) as scene:
            await classified(scene)
            health = Agent(port if program == "client" else scene.lab.port, "/readyz", None)
            assert (await scene.agent.ask(call("open_ticket", case="before"))).status == 200
            with unwritable(log):
                await eventually(lambda: refused(scene))
                for name in ("open_ticket", "get_ticket"):
                    assert said(await scene.agent.ask(call(name, case="during"))) == (
                        503,
                        NEVER_SENT,
                    )
                told = await health.ask(method="GET")
                assert (told.status, told.document["reason"]) == (503, "audit")
            await eventually(lambda: answers(scene))
            await eventually(lambda: healthy(health))
            assert scene.upstream.calls("during") == []
            await scene.lab.stop()
            has_whole_calls(log)
            (gap,) = records(log, "audit.gap")
            assert "not permitted" in gap["why"]
            assert await verified(scene.lab, log)


async def answers(scene: Scene) -> bool:
    return (await scene.agent.ask(call("open_ticket", case="again"))).status == 200


async def healthy(health: Agent) -> bool:
    return (await health.ask(method="GET")).status == 200
