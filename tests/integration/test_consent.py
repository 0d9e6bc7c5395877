"""A client with several stdio servers: what was not agreed to is refused alone, and says so."""

import json
import sys
from pathlib import Path

import pytest

from tests.helpers.agent import call, initialize
from tests.helpers.sandboxes import PRYING, bubblewrap
from tests.helpers.tunnel import Lab, StdioUpstream, make_lab
from tests.integration.scene import grant

pytestmark = pytest.mark.system


async def prying_lab_call(lab: Lab, upstream: str, code: str) -> tuple[int, bytes]:
    made = await grant(lab, upstream)
    reply = await made.agent.ask(call("run", code=code))
    return reply.status, reply.body


async def test_a_swapped_program_is_refused_and_the_other_server_serves(tmp_path: Path) -> None:
    """L01, L05, C19: through the whole tunnel, with the real key of a real client."""
    bubblewrap()
    script = tmp_path / "install" / "server.py"
    script.parent.mkdir()
    script.write_bytes(PRYING.read_bytes())
    upstreams = {
        name: StdioUpstream((sys.executable, "-S", str(path)), path.parent)
        for name, path in (("kept", PRYING), ("swapped", script))
    }
    async with make_lab(upstreams) as lab:
        key = lab.folder / "client" / "state" / "client.key"
        for path in (key, lab.client_config, lab.folder / "relay"):
            code = f"import os; result = os.path.exists({str(path)!r})"
            status, body = await prying_lab_call(lab, "swapped", code)
            assert (status, b"False" in body) == (200, True), body
        script.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
        made = await grant(lab, "swapped")
        begun = await made.agent.ask(initialize())
        assert begun.status == 503
        assert json.loads(begun.body)["error"]["data"]["delivery"] == "never_sent"
        status, body = await prying_lab_call(lab, "kept", "result = 6 * 7")
        assert (status, b"42" in body) == (200, True)
        shown = json.loads(await lab.client_command("status", "--json"))
        kept, swapped = shown["stdio"]
        assert (kept["name"], kept["refused"]) == ("kept", None)
        assert kept["sandbox"].startswith("bubblewrap")
        assert "MT2561" in swapped["refused"]
        assert "server.py" in swapped["refused"]
        assert "MT2561" in await lab.client_command("status")
        await lab.client_command("consent", "approve", "swapped", "--yes")
        shown = json.loads(await lab.client_command("status", "--json"))
        assert [each["refused"] for each in shown["stdio"]] == [None, None]
    assert not (tmp_path / "ran").exists()


async def test_a_program_that_is_missing_keeps_nobody_else_from_serving(tmp_path: Path) -> None:
    bubblewrap()
    kept = StdioUpstream((sys.executable, "-S", str(PRYING)), PRYING.parent)
    async with make_lab({"kept": kept}, start=False) as lab:
        table = '\n[[upstream]]\nname = "gone"\ncommand = ["/opt/no-such-server"]\n'
        with lab.client_config.open("a") as config:
            config.write(table)
        await lab.start_client(["kept", "gone"])
        status, body = await prying_lab_call(lab, "kept", "result = 6 * 7")
        assert (status, b"42" in body) == (200, True)
        made = await grant(lab, "gone")
        begun = await made.agent.ask(initialize())
        assert begun.status == 503
        assert json.loads(begun.body)["error"]["data"]["delivery"] == "never_sent"
        shown = await lab.client_command("status")
        assert "NOT STARTED: MT2004: upstream gone: no program '/opt/no-such-server'" in shown
        assert "upstream refused" in (lab.folder / "client.log").read_text()
