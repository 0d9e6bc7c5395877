"""The client is told to stop, and told again by somebody who does not want to wait."""

import json
import shutil
import signal
from pathlib import Path

import anyio
import pytest

from tests.helpers.agent import call
from tests.helpers.tunnel import StdioUpstream, make_lab
from tests.integration.scene import eventually, grant

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

STDIO = Path(__file__).parents[1] / "helpers" / "stdio_server.py"


def lives(pid: int) -> bool:
    return Path("/proc", str(pid)).exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_the_client_at_once_and_as_cleanly_as_one(
    number: signal.Signals,
) -> None:
    """Its server heeds neither a closed stdin nor SIGTERM."""
    python = shutil.which("python3") or "python3"
    words = (python, "-S", str(STDIO), "deaf")
    upstream = StdioUpstream(words, STDIO.parent, sandboxed=False)
    async with make_lab({"server": upstream}) as lab:
        agent = (await grant(lab)).agent
        said = (await agent.ask(call("facts", id=1))).document["result"]["content"][0]["text"]
        child = json.loads(said)["pid"]
        assert lives(child)
        assert lab.client is not None
        log = lab.folder / "client.log"
        lab.client.send_signal(number)
        await eventually(lambda: "event=stopping" in log.read_text())
        lab.client.send_signal(number)
        with anyio.fail_after(30):
            assert await lab.client.wait() == 0
        events = [line.partition("event=")[2] for line in log.read_text().splitlines()]
        assert [each for each in events if "stop" in each] == [
            "stopping",
            '"stopping now"',
            "stopped",
        ]
        assert events[-1] == "stopped"
        assert not lives(child)
