"""What the relay writes down beside calls that it sends: refusals, strangers, events."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from shared.ids import SESSION_PREFIX, new_token
from tests.helpers.agent import call, initialize
from tests.helpers.audit_log import Record, holding, records
from tests.helpers.tunnel import Lab, end
from tests.integration.policies import Desk, desk_upstream, open_desk
from tests.integration.scene import SERVER, Scene, eventually, open_scene
from tests.integration.test_audit_client import intent_of, pinned
from tests.integration.test_audit_faults import classified
from tests.integration.test_audit_relay import relay_folder

pytestmark = [pytest.mark.system]

NO_MAIL = """\
version: 1
rules:
  - {id: all, match: {method: "*"}, effect: allow}
  - {id: no-mail, match: {tool: send_mail}, effect: deny}
"""
CANARY = "canary-71d0e2"


def of(scene: Scene, kind: str) -> list[Record]:
    return records(relay_folder(scene), kind)


async def verified(lab: Lab, folder: Path) -> None:
    """Have the product's own command verify a log; raises CommandError."""
    await lab._run("tunnel-client", "audit", "verify", "--folder", str(folder))


async def test_denied_malformed_limited_and_unauthenticated_requests_are_all_written_down() -> None:
    """A10: none of them reaches the upstream; A17: what is claimed stands apart."""
    limits = {"limits.session_streams": 1}
    async with open_scene(limits, prepare=pinned, upstream=desk_upstream()) as scene:
        await classified(scene)
        await scene.lab.client_command("tool", "classify", SERVER, "send_mail", "external_send")
        held = (await scene.grant()).agent
        told = call("send_mail", case=CANARY)
        named = [("User-Agent", "root\t{}")]
        policy = next(scene.lab.relay_config.parent.rglob("relay-policy.yaml"))
        policy.write_text(NO_MAIL)
        assert scene.lab.relay is not None
        scene.lab.relay.send_signal(signal.SIGHUP)
        await eventually(lambda: len(of(scene, "policy.read")) >= 2)
        await held.ask(told)
        assert (await held.ask(b'{"jsonrpc":"2.0"', headers=named)).status == 400
        scene.upstream.driven.add("get_ticket")
        async with held.open(call("get_ticket", case="first")):
            await scene.upstream.arrived("first")
            assert (await held.ask(call("get_ticket", case="second"))).status == 429
            assert scene.upstream.calls("second") == []
        stranger = held.with_token(SecretStr(new_token(SESSION_PREFIX)))
        for _ in range(3):
            assert (await stranger.ask(told)).status == 401
        assert (await replace(held, token=None).ask(told)).status == 401
        assert scene.upstream.calls(CANARY) == []
        await end(scene.lab.relay)
        refused = {each["reason"]: each for each in of(scene, "call.refused")}
        (denied,) = [each for each in refused.values() if each["why"]["rule"] == "no-mail"]
        assert denied["who"]["agent"] == "test"
        assert denied["why"]["decision"] == "deny"
        assert denied["source"] == "127.0.0.1"
        assert "too many calls at a time" in refused
        malformed = refused["Parse error: not strict JSON"]
        assert (malformed["who"]["agent"], malformed["who"]["claimed"]) == ("test", "root?{}")
        strangers = {each["reason"]: each["count"] for each in of(scene, "call.unauthenticated")}
        assert strangers == {"token: unknown": 3, "no token": 1}
        assert holding(relay_folder(scene), CANARY) == []
        await verified(scene.lab, relay_folder(scene))


@pytest.mark.slow
async def test_who_an_agent_says_it_is_stands_apart_at_the_relay_too() -> None:
    """A17."""
    async with open_scene(prepare=pinned, upstream=desk_upstream()) as scene:
        await classified(scene)
        message = initialize()
        message["params"]["clientInfo"] = {"name": "root", "version": "9\nseq"}
        begun = await scene.agent.ask(message, headers=[("X-Forwarded-User", "root")])
        session = [("Mcp-Session-Id", begun.values("mcp-session-id")[0])]
        told = call("get_ticket", case="claims", modern=False)
        assert (await scene.agent.ask(told, headers=session)).status == 200
        there = intent_of(scene, scene.upstream.calls("claims")[0].body)
        (here,) = [each for each in of(scene, "call.intent") if each["call"] == there["call"]]
        assert here["who"]["claimed"] == "root/9?seq"
        assert (here["who"]["agent"], here["who"]["user"]) == ("test", there["who"]["user"])


async def approved_once(desk: Desk) -> dict[str, list[Record]]:
    approval = await desk.approved("send_mail", True, case="permit", to="ann")
    reply = await desk.call("send_mail", True, case="permit", to="ann")
    assert "result" in reply.document
    assert desk.reached("permit") == 1
    denied = await desk.pending(await desk.call("send_mail", True, case="no", to="eve"))
    await desk.decide("deny", denied, "carol", "--reason", "not to her")
    found: dict[str, list[Record]] = {}
    for each in records(relay_folder(desk.scene)):
        found.setdefault(each["kind"], []).append(each)
    (granted,) = found["approval.granted"]
    assert granted["approval"]["id"] == approval
    assert granted["approval"]["approvers"] == ["carol"]
    return found


@pytest.mark.slow
async def test_an_approval_and_the_call_that_used_it_name_each_other() -> None:
    """A20: id and digest of arguments are the same in both, and `verify` holds them together."""
    async with open_desk(None, "carol") as desk:
        found = await approved_once(desk)
        (granted,) = found["approval.granted"]
        (used,) = [each for each in found["call.intent"] if "approval" in each]
        for name in ("approvers", "arguments", "id"):
            assert used["approval"][name] == granted["approval"][name]
        assert used["approval"]["keys"]  # the relay vouches for what nobody signed
        assert found["approval.consumed"][0]["approval"]["id"] == granted["approval"]["id"]
        assert len(found["approval.asked"]) == 2
        assert [each["reason"] for each in found["approval.denied"]] == ["not to her"]
        order = [found[kind][0]["seq"] for kind in ("approval.asked", "approval.granted")]
        assert [*order, used["seq"]] == sorted([*order, used["seq"]])
        await end(desk.lab.relay)
        await verified(desk.lab, relay_folder(desk.scene))


async def test_what_bears_on_calls_is_written_down_at_the_relay() -> None:
    async with open_scene(prepare=pinned, upstream=desk_upstream()) as scene:
        await classified(scene)
        held = await scene.grant()
        await scene.lab.relay_command("session", "revoke", held.id, "--reason", "left")
        lock = await scene.lab.relay_json("lock", "add", "--agent", "evil", "--reason", "no")
        await scene.lab.relay_command("lock", "remove", lock["lock"]["id"])
        await end(scene.lab.relay)
        kinds: dict[str, Any] = {each["kind"]: each for each in records(relay_folder(scene))}
        assert kinds["enrolment.done"]["tunnel"] == kinds["link.up"]["tunnel"] == "lab"
        assert kinds["link.up"]["instance"] == kinds["enrolment.done"]["instance"]
        assert kinds["session.created"]["who"]["session"] == held.id
        assert kinds["session.revoked"]["reason"] == "left"
        assert kinds["session.cut"]["sessions"] == [held.id]
        assert kinds["lock.set"]["subject"] == kinds["lock.lifted"]["subject"] == "evil"
        told = {name: kind for name, kind, _ in kinds["tool.told"]["changed"]}
        assert set(told) >= {"get_ticket", "open_ticket"}
        assert {"policy.read", "relay.started", "relay.stopping", "link.down"} <= set(kinds)


async def test_turning_the_relays_log_off_or_moving_it_is_its_own_last_record() -> None:
    """A15: the change stands in the log that it changes."""
    async with open_scene(prepare=pinned, upstream=desk_upstream()) as scene:
        before, moved = relay_folder(scene), relay_folder(scene).parent / "elsewhere"
        await end(scene.lab.relay)
        scene.lab.environment["TUNNEL_RELAY_AUDIT__FOLDER"] = str(moved)
        await scene.lab.start_relay()
        last = records(before)[-1]
        assert (last["kind"], last["changed"]) == (
            "audit.changed",
            {"folder": ["audit", "elsewhere"]},
        )
        await end(scene.lab.relay)
        scene.lab.environment["TUNNEL_RELAY_AUDIT__ON"] = "false"
        await scene.lab.start_relay()
        last = records(moved)[-1]
        assert (last["kind"], last["changed"]) == ("audit.changed", {"on": [True, False]})
        assert "AUDITING IS OFF" in scene.log("relay.log")


async def test_a_killed_relay_ends_at_its_start_what_it_had_sent() -> None:
    """A09: what was under way ends as unknown; numbers have no gap and the log verifies."""
    async with open_scene(prepare=pinned, upstream=desk_upstream()) as scene:
        await classified(scene)
        scene.upstream.driven |= {"get_ticket", "open_ticket"}
        async with (
            scene.agent.open(call("get_ticket", case="read")) as read,
            scene.agent.open(call("open_ticket", case="write")) as write,
        ):
            for case in ("read", "write"):
                await scene.upstream.arrived(case)
            assert scene.lab.relay is not None
            os.killpg(scene.lab.relay.pid, signal.SIGKILL)
            await scene.lab.relay.wait()
            await read.broken_or_whole()
            await write.broken_or_whole()
        await scene.lab.start_relay()
        found = records(relay_folder(scene))
        assert [each["seq"] for each in found] == list(range(len(found)))
        ends = {each["call"]: each for each in found if each["kind"] == "call.completion"}
        for case in ("read", "write"):
            intent = intent_of(scene, scene.upstream.calls(case)[0].body)
            done = ends[intent["call"]]
            assert (done["result"], done["closed_by"]) == ("delivery_unknown", "restart")
        assert "audit.recovered" in {each["kind"] for each in found}
        await end(scene.lab.relay)
        await verified(scene.lab, relay_folder(scene))
