"""What the commands say of logs that real programs wrote."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.agent import call, initialize
from tests.helpers.audit_log import records
from tests.helpers.tunnel import CommandError, end
from tests.integration.policies import desk_upstream
from tests.integration.scene import Scene, open_scene
from tests.integration.test_audit_client import intent_of, pinned
from tests.integration.test_audit_faults import classified
from tests.integration.test_audit_relay import ended, relay_folder

pytestmark = [pytest.mark.system]


def client_folder(scene: Scene) -> Path:
    return scene.lab.folder / "client" / "state" / "audit"


async def of_relay(scene: Scene, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = await scene.lab.relay_json("audit", *words)
    return found


async def reconciled(scene: Scene) -> dict[str, Any]:
    """Compare both logs; both programs have ended."""
    folders = (str(relay_folder(scene)), str(client_folder(scene)))
    compare = ("audit", "reconcile", *folders, "--slack", "0", "--json")
    found: dict[str, Any] = json.loads(await scene.lab._run("tunnel-relay", *compare))
    return found


async def test_a_session_is_replayed_and_both_logs_account_for_every_call() -> None:
    """A21: what is shown again is read; the upstream's own count stays what it was."""
    async with open_scene(prepare=pinned, upstream=desk_upstream()) as scene:
        await classified(scene)
        for tool in ("open_ticket", "get_ticket", "refund", "no_such_tool"):
            await scene.agent.ask(call(tool, case="replayed"))
        async with scene.agent.open(call("open_ticket", case="left")):
            await scene.upstream.arrived("left")
        intent = intent_of(scene, scene.upstream.calls("replayed")[0].body)
        await ended(scene, intent["call"])
        before = len(scene.upstream.seen)
        session = intent["who"]["session"]
        for words in (("replay", session), ("query", "--session", session[:8]), ("tail",)):
            assert (await of_relay(scene, *words))["schema_version"] == 1
        shown = await of_relay(scene, "replay", session)
        (step,) = [each for each in shown["entries"] if each["call"] == intent["call"]]
        assert (step["name"], step["result"], step["class"]) == ("open_ticket", "ok", "write")
        assert step["us"] > 0
        there = json.loads(await scene.lab.client_command("audit", "replay", session, "--json"))
        assert intent["call"] in {each["call"] for each in there["entries"]}
        assert len(scene.upstream.seen) == before

        await end(scene.lab.client)
        await end(scene.lab.relay)
        found = await reconciled(scene)
        assert (found["ok"], found["broken"]) == (True, {})
        assert found["relay"] == found["matched"] == found["clients"][str(client_folder(scene))] > 0
        swapped = (str(client_folder(scene)), str(relay_folder(scene)), "--slack", "0", "--json")
        again = await scene.lab._run("tunnel-client", "audit", "reconcile", *swapped)
        assert json.loads(again) == found
        for program, code in (("tunnel-relay", "MT1157"), ("tunnel-client", "MT2324")):
            with pytest.raises(CommandError) as refused:
                await scene.lab._run(program, "audit", "reconcile", *swapped[:1] * 2)
            assert f"{code}: one log is named twice" in refused.value.stderr
            hint = f"{program} audit reconcile RELAY_FOLDER CLIENT_FOLDER..."
            assert hint in refused.value.stderr


async def test_answers_without_a_body_are_the_same_in_both_logs() -> None:
    """A legacy session: an upstream owes a notification and a farewell no more than a status."""
    async with open_scene(prepare=pinned, upstream=desk_upstream()) as scene:
        begun = await scene.agent.ask(initialize())
        session = [("Mcp-Session-Id", begun.values("mcp-session-id")[0])]
        message = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert (await scene.agent.ask(message, headers=session)).status == 202
        assert (await scene.agent.ask(method="DELETE", headers=session)).status == 204
        await end(scene.lab.client)
        await end(scene.lab.relay)
        done = records(client_folder(scene), "call.completion")
        assert sorted((each["status"], each["result"], each["delivery"]) for each in done) == [
            (200, "ok", "done"),
            (202, "ok", "done"),
            (204, "ok", "done"),
        ]
        found = await reconciled(scene)
        assert (found["ok"], found["findings"]) == (True, [])
        assert found["relay"] == found["matched"] == 3


async def test_a_replay_says_at_both_ends_that_the_session_was_cut() -> None:
    async with open_scene(prepare=pinned, upstream=desk_upstream()) as scene:
        await classified(scene)
        held = await scene.grant()
        assert (await held.agent.ask(call("get_ticket", case="before"))).status == 200
        await scene.lab.relay_command("session", "revoke", held.id)
        for name in (held.id, held.id[:6]):
            words = ("audit", "replay", name, "--json")
            client = json.loads(await scene.lab.client_command(*words))
            for shown in (client, await of_relay(scene, "replay", name)):
                kinds = [each["kind"] for each in shown["entries"]]
                assert shown["session"] == held.id
                assert kinds.index("call.intent") < kinds.index("session.cut")
        found = await of_relay(scene, "query", "--session", held.id, "--kind", "session.cut")
        (cut,) = found["records"]
        assert cut["sessions"] == [held.id]


async def test_a_log_that_is_not_there_is_said_with_a_code() -> None:
    async with open_scene() as scene:
        with pytest.raises(CommandError) as refused:
            await scene.lab.relay_command("audit", "replay", "nobody")
        assert "MT1150: no session of that name" in refused.value.stderr
