"""The relay's log of what admins ask of it: real programs, real files."""

import json

import pytest

from tests.helpers.audit_log import records
from tests.helpers.tunnel import end
from tests.integration.scene import open_scene

pytestmark = [pytest.mark.system]


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
