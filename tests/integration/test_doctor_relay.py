"""The relay's doctor beside a running relay."""

import json

import pytest

from tests.helpers.tunnel import CommandError
from tests.integration.scene import open_scene

pytestmark = pytest.mark.system


async def test_a_running_relay_is_looked_at_and_not_disturbed() -> None:
    async with open_scene(start=False) as scene:
        shown = await scene.lab.relay_command("doctor")
        assert "ok: " in shown
        assert "answers as a relay" in shown
        assert "is the relay's" in shown
        found = await scene.lab.relay_json("doctor")
        assert (found["ok"], found["broken"]) == (True, None)
        assert found["schema_version"] == 1
        assert {line["outcome"] for line in found["lines"]} == {"PASS", "SKIP"}
        scene.lab.environment["TUNNEL_RELAY_PUBLIC_URL"] = json.dumps("http://127.0.0.1:9")
        with pytest.raises(CommandError) as failed:
            await scene.lab.relay_command("doctor")
        assert failed.value.code == 1
