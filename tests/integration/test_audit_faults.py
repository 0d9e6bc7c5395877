"""The client's log when something fails: disks, kills, cables, and whoever turns it off."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from tests.helpers.agent import Agent, Reply, call
from tests.helpers.audit_log import Record, records
from tests.helpers.disks import fill, small_disk
from tests.helpers.tcp_proxy import TcpProxy
from tests.helpers.tunnel import CommandError, Lab, end, free_port
from tests.integration.policies import desk_upstream
from tests.integration.scene import OTHER, SERVER, Scene, eventually, open_scene
from tests.integration.test_audit_client import folder, intent_of, pinned

pytestmark = [pytest.mark.system]

NEVER_SENT = {"origin": "relay", "delivery": "never_sent"}
BURST = 24


async def classified(scene: Scene) -> None:
    for name, tool_class in (("get_ticket", "read"), ("open_ticket", "write")):
        await scene.lab.client_command("tool", "classify", SERVER, name, tool_class)


def said(reply: Reply) -> tuple[int, object]:
    return reply.status, reply.document["error"]["data"]


async def status(lab: Lab) -> Record:
    found: Record = json.loads(await lab.client_command("status", "--json"))["audit"]
    return found


def one_chain(found: list[Record]) -> None:
    """Every number once, in order: no gap and no fork."""
    assert [each["seq"] for each in found] == list(range(len(found)))


async def test_a_full_disk_refuses_what_changes_and_recovers_without_a_gap(tmp_path: Path) -> None:
    """A08: 503 before anything is dispatched, health says why, and no restart is needed."""
    health = Agent(free_port(), "/readyz", None)

    def prepare(lab: Lab) -> None:
        pinned(lab)
        lab.environment["TUNNEL_CLIENT_AUDIT__FOLDER"] = str(tmp_path / "disk" / "log")
        lab.environment["TUNNEL_CLIENT_HEALTH__LISTEN"] = f"127.0.0.1:{health.port}"

    with small_disk(tmp_path / "disk") as disk:
        log = disk / "log"
        async with open_scene(prepare=prepare, upstream=desk_upstream()) as scene:
            await classified(scene)
            assert (await scene.agent.ask(call("open_ticket", case="before"))).status == 200
            filler = fill(disk)
            await eventually(lambda: refuses(scene))
            refused = [
                await scene.agent.ask(call(tool, case="full"))
                for tool in ("open_ticket", "get_ticket", "open_ticket")
            ]
            assert [said(reply) for reply in refused] == [(503, NEVER_SENT)] * 3
            assert scene.upstream.calls("full") == []
            assert "No space left" in (await status(scene.lab))["failing"]
            told = await health.ask(method="GET")
            assert (told.status, told.document["reason"]) == (503, "audit")
            with pytest.raises(CommandError, match="MT2321"):
                await scene.lab.client_command("tool", "classify", SERVER, "get_ticket", "draft")
            filler.unlink()
            await eventually(lambda: status_is_fine(scene.lab))
            assert (await health.ask(method="GET")).status == 200
            assert (await scene.agent.ask(call("open_ticket", case="after"))).status == 200
            await end(scene.lab.client)
            found = records(log)
            one_chain(found)
            (failed,) = [each for each in found if each["kind"] == "audit.gap"]
            assert "No space left" in failed["why"]
            assert len([each for each in found if each["kind"] == "call.refused"]) >= 3
            intents = {each["call"] for each in found if each["kind"] == "call.intent"}
            ends = {each["call"] for each in found if each["kind"] == "call.completion"}
            assert intents == ends
            out = await scene.lab.client_command("audit", "verify", "--json")
            assert json.loads(out)["ok"] is True


async def refuses(scene: Scene) -> bool:
    """Call until nothing goes through: the last block of a file has room for a few records."""
    return (await scene.agent.ask(call("get_ticket", case="filling"))).status == 503


async def status_is_fine(lab: Lab) -> bool:
    return (await status(lab))["failing"] is None


async def failing(scene: Scene) -> bool:
    await scene.agent.ask(call("open_ticket", case="filling"))
    return (await status(scene.lab))["failing"] is not None


@pytest.mark.slow
async def test_reads_may_go_on_without_the_log_where_the_operator_said_so(tmp_path: Path) -> None:
    """A08: what changes something is refused all the same."""

    def prepare(lab: Lab) -> None:
        pinned(lab)
        lab.environment["TUNNEL_CLIENT_AUDIT__FOLDER"] = str(tmp_path / "disk" / "log")
        lab.environment["TUNNEL_CLIENT_AUDIT__READS_WITHOUT"] = "true"

    with small_disk(tmp_path / "disk") as disk:
        async with open_scene(prepare=prepare, upstream=desk_upstream()) as scene:
            await classified(scene)
            fill(disk)
            await eventually(lambda: failing(scene))
            assert (await scene.agent.ask(call("get_ticket", case="read"))).status == 200
            refused = await scene.agent.ask(call("open_ticket", case="write"))
            assert said(refused) == (503, NEVER_SENT)
            assert scene.upstream.calls("write") == []
            assert (await status(scene.lab))["unrecorded"] >= 1


async def burst(scene: Scene, case: str) -> list[str]:
    """Call all at once while the client dies; returns the cases that were begun."""

    async def one(number: int) -> None:
        tool = "open_ticket" if number % 2 else "get_ticket"
        async with scene.agent.open(call(tool, case=f"{case}-{number}")) as reply:
            await reply.broken_or_whole()

    names = [f"{case}-{number}" for number in range(BURST)]
    async with asyncio.TaskGroup() as tasks:
        for number in range(BURST):
            tasks.create_task(one(number))
        await scene.upstream.until(lambda: any(scene.upstream.calls(name) for name in names))
        assert scene.lab.client is not None
        os.killpg(scene.lab.client.pid, signal.SIGKILL)
        await scene.lab.client.wait()
        await scene.lab.start_client([SERVER, OTHER])
    return names


@pytest.mark.slow
async def test_a_killed_client_has_written_the_intent_of_all_it_dispatched() -> None:
    """A09: what was open ends as unknown, and the upstream saw nothing that was not announced."""
    async with open_scene(prepare=pinned, upstream=desk_upstream()) as scene:
        await classified(scene)
        for turn in range(3):
            names = await burst(scene, f"kill{turn}")
            found = records(folder(scene))
            one_chain(found)
            bodies = {each["body"] for each in found if each["kind"] == "call.intent"}
            for name in names:
                seen = scene.upstream.calls(name)
                assert len(seen) <= 1
                for each in seen:
                    intent_of(scene, each.body)
            intents = [each["call"] for each in found if each["kind"] == "call.intent"]
            assert len(intents) == len(set(intents)) >= len(bodies)
        await end(scene.lab.client)
        found = records(folder(scene))
        one_chain(found)
        ends = [each for each in found if each["kind"] == "call.completion"]
        intents = [each["call"] for each in found if each["kind"] == "call.intent"]
        assert sorted(each["call"] for each in ends) == sorted(intents)
        assert {each["result"] for each in ends} <= {"ok", "delivery_unknown"}
        out = await scene.lab.client_command("audit", "verify", "--json")
        assert json.loads(out)["ok"] is True


async def test_a_lost_link_leaves_delivery_unknown() -> None:
    """T27: the call is not made again, and its record says that nobody knows."""
    proxy = TcpProxy()
    once = {"limits.resume_seconds": "0s"}
    desk = desk_upstream()
    async with proxy, open_scene(once, prepare=pinned, via=proxy, links=1, upstream=desk) as scene:
        await classified(scene)
        scene.upstream.driven.add("get_ticket")
        async with scene.agent.open(call("get_ticket", case="lost")) as reply:
            seen = await scene.upstream.arrived("lost")
            intent = intent_of(scene, seen.body)
            proxy.cut()
            await reply.end()

        def ended() -> list[Record]:
            found = records(folder(scene), "call.completion")
            return [each for each in found if each["call"] == intent["call"]]

        await eventually(ended)
        assert [(each["result"], each["delivery"]) for each in ended()] == [
            ("delivery_unknown", "unknown")
        ]
        down = records(folder(scene), "link.down")
        assert down[-1]["link"] == intent["call"].partition(".")[0]


async def test_turning_the_log_off_or_moving_it_is_its_own_last_record() -> None:
    """A15: the change stands in the log that it changes."""
    async with open_scene(prepare=pinned, upstream=desk_upstream()) as scene:
        state, moved = folder(scene).parent, folder(scene).parent / "elsewhere"
        before = len(records(folder(scene)))
        assert records(folder(scene), "audit.changed") == []
        await end(scene.lab.client)
        scene.lab.environment["TUNNEL_CLIENT_AUDIT__FOLDER"] = str(moved)
        await scene.lab.start_client([SERVER, OTHER])
        last = records(state / "audit")[-1]
        assert last["kind"] == "audit.changed"
        assert last["changed"] == {"folder": ["audit", "elsewhere"]}
        assert last["seq"] >= before
        await end(scene.lab.client)
        scene.lab.environment["TUNNEL_CLIENT_AUDIT__ON"] = "false"
        await scene.lab.start_client([SERVER, OTHER])
        last = records(moved)[-1]
        assert (last["kind"], last["changed"]) == ("audit.changed", {"on": [True, False]})
        assert await status(scene.lab) == {"on": False}
        assert "AUDITING IS OFF" in scene.log("client.log")
        size = len(records(moved))
        assert (await scene.agent.ask(call("get_ticket", case="off"))).status == 200
        assert len(records(moved)) == size
