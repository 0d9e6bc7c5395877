"""The relay's log, of what admins ask of it and of calls: real programs, real files."""

import json
import signal
from pathlib import Path

import pytest

from tests.helpers.agent import call
from tests.helpers.audit_log import Record, records
from tests.helpers.disks import fill, small_disk
from tests.helpers.tunnel import Lab, end
from tests.integration.policies import desk_upstream
from tests.integration.scene import Scene, eventually, open_scene
from tests.integration.test_audit_client import folder, intent_of, pinned
from tests.integration.test_audit_faults import NEVER_SENT, classified, refuses, said

pytestmark = [pytest.mark.system]
TURNS = """\
version: 1
default: deny
rules:
  - {id: odd, match: {tool: get_ticket}, when: 'args.case == "odd"', effect: allow}
  - {id: even, match: {tool: get_ticket}, when: 'args.case == "even"', effect: allow}
"""


async def test_a_revocation_stands_in_the_relays_log_and_the_log_verifies() -> None:
    """Asked before it is done, with who and why; what the relay closed has one whole chain."""
    async with open_scene() as scene:
        folder = scene.lab.folder / "relay" / "state" / "audit"
        held = await scene.grant()
        await scene.lab.relay_command("session", "revoke", held.id, "--reason", "left the team")
        (asked,) = [
            each for each in records(folder, "admin.asked") if each["command"] == "session_revoke"
        ]
        assert asked["by"] == "operator"
        assert asked["arguments"] == {"reason": "left the team", "session": held.id}
        assert "relay.started" in {each["kind"] for each in records(folder)}
        await end(scene.lab.relay)
        found = records(folder)
        assert [each["seq"] for each in found] == list(range(len(found)))
        assert found[-1]["kind"] == "audit.closed"
        out = await scene.lab._run(
            "tunnel-client", "audit", "verify", "--folder", str(folder), "--json"
        )
        assert json.loads(out)["ok"] is True


def relay_folder(scene: Scene) -> Path:
    return scene.lab.folder / "relay" / "state" / "audit"


async def ended(scene: Scene, call_id: str) -> Record:
    """Wait for the completion of a call in the relay's log."""

    def found() -> list[Record]:
        every = records(relay_folder(scene), "call.completion")
        return [each for each in every if each["call"] == call_id]

    await eventually(found)
    (done,) = found()
    return done


async def test_a_call_stands_in_both_logs_under_one_name_with_one_digest() -> None:
    """A11: neither end's word is needed to match them."""
    async with open_scene(prepare=pinned, upstream=desk_upstream()) as scene:
        await classified(scene)
        reply = await scene.agent.ask(call("open_ticket", case="both"))
        (seen,) = scene.upstream.calls("both")
        there = intent_of(scene, seen.body)
        every = records(relay_folder(scene), "call.intent")
        (here,) = [each for each in every if each["call"] == there["call"]]
        assert here["body"] == there["body"]
        for name in ("agent", "session", "user"):
            assert here["who"][name] == there["who"][name]
        assert here["what"] == there["what"]
        assert here["why"] | {"policy": ""} == {
            "by": "rule",
            "decision": "allow",
            "policy": "",
            "rule": "what-sessions-open",
        }
        done = await ended(scene, here["call"])
        assert (done["result"], done["status"], done["delivery"]) == ("ok", 200, "done")
        assert done["bytes"] == len(reply.body)
        assert done["intent"] == here["seq"] < done["seq"]


async def test_an_intent_names_the_rule_that_let_the_call_pass_whatever_it_said() -> None:
    """Two rules take turns by an argument; what no rule is asked about names none."""
    async with open_scene(prepare=pinned, upstream=desk_upstream()) as scene:
        await classified(scene)
        policy = next(scene.lab.relay_config.parent.rglob("relay-policy.yaml"))
        policy.write_text(TURNS)
        assert scene.lab.relay is not None
        scene.lab.relay.send_signal(signal.SIGHUP)
        await eventually(lambda: len(records(relay_folder(scene), "policy.read")) >= 2)
        for case in ("odd", "even", "odd", "even"):
            reply = await scene.agent.ask(call("get_ticket", case=case))
            assert b'"result"' in reply.body
        await scene.agent.ask({"jsonrpc": "2.0", "id": 9, "method": "tools/list"})

        def whys(method: str) -> list[Record]:
            every = records(relay_folder(scene), "call.intent")
            return [each["why"] for each in every if each["what"].get("method") == method]

        calls, (listed,) = whys("tools/call")[-4:], whys("tools/list")[-1:]
        assert [each["rule"] for each in calls] == ["odd", "even", "odd", "even"]
        assert {(each["by"], each["decision"]) for each in calls} == {("rule", "allow")}
        assert (listed["by"], listed["decision"], listed["rule"]) == ("free", "allow", None)


async def test_a_call_that_is_revoked_in_flight_says_so() -> None:
    async with open_scene(prepare=pinned, upstream=desk_upstream()) as scene:
        await classified(scene)
        scene.upstream.driven.add("get_ticket")
        async with scene.agent.open(call("get_ticket", case="cut")) as reply:
            seen = await scene.upstream.arrived("cut")
            intent = intent_of(scene, seen.body)
            session = intent["who"]["session"]
            await scene.lab.relay_command("session", "revoke", session, "--reason", "over")
            await reply.end()
        done = await ended(scene, intent["call"])
        assert (done["result"], done["delivery"]) == ("revoked_in_flight", "unknown")


async def test_nothing_is_sent_while_the_relays_disk_is_full_and_it_recovers(
    tmp_path: Path,
) -> None:
    """A08: at the relay; no restart is needed."""

    def prepare(lab: Lab) -> None:
        pinned(lab)
        lab.environment["TUNNEL_RELAY_AUDIT__FOLDER"] = str(tmp_path / "disk" / "log")

    with small_disk(tmp_path / "disk") as disk:
        async with open_scene(prepare=prepare, upstream=desk_upstream()) as scene:
            await classified(scene)
            filler = fill(disk)
            await eventually(lambda: refuses(scene))
            for tool in ("open_ticket", "get_ticket"):
                reply = await scene.agent.ask(call(tool, case="full"))
                assert said(reply) == (503, NEVER_SENT)
            assert scene.upstream.calls("full") == []
            assert (await scene.ready())["reason"] == "audit"
            filler.unlink()
            await eventually(lambda: answers_again(scene))
            await end(scene.lab.client)
            await end(scene.lab.relay)
            found = records(disk / "log")
            assert [each["seq"] for each in found] == list(range(len(found)))
            assert len([each for each in found if each["kind"] == "audit.gap"]) == 1
            # What met the full disk is written down later, under names that are its own.
            names = [each["call"] for each in found if each["kind"] == "call.intent"]
            assert len(names) == len(set(names))
            both = (str(disk / "log"), str(folder(scene)))
            await scene.lab._run("tunnel-relay", "audit", "reconcile", *both)


async def answers_again(scene: Scene) -> bool:
    return (await scene.agent.ask(call("get_ticket", case="again"))).status == 200
