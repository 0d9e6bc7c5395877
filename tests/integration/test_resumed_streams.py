"""A stream that broke with its link goes on over the next one: GET with `Last-Event-ID`."""

import shutil
from pathlib import Path

import pytest

from tests.helpers.agent import LEGACY, Agent, Reply, call, initialize
from tests.helpers.tunnel import StdioUpstream, make_lab
from tests.integration.scene import eventually, grant

pytestmark = pytest.mark.system

SERVER = Path(__file__).resolve().parents[1] / "helpers" / "stdio_server.py"


async def begun(agent: Agent) -> list[tuple[str, str]]:
    """Begin a legacy MCP session; returns the headers that name it."""
    reply = await agent.ask(initialize())
    (name,) = reply.values("mcp-session-id")
    return [("Mcp-Session-Id", name), ("MCP-Protocol-Version", LEGACY)]


def last_event(reply: Reply) -> str:
    lines = b"".join(reply.chunks).split(b"\n")
    return [line[4:].decode() for line in lines if line.startswith(b"id: ")][-1]


async def test_a_stream_goes_on_at_another_relay_process_and_nothing_of_it_is_lost() -> None:
    """The child runs on while there is no link, and what it says meanwhile is kept."""
    python = shutil.which("python3") or "python3"
    upstream = StdioUpstream((python, "-S", str(SERVER)), SERVER.parent, sandboxed=False)
    async with make_lab({"server": upstream}) as lab:
        agent = (await grant(lab)).agent
        named = await begun(agent)
        hold = call("hold", key="k", say="begun", id=1, modern=False)
        hold["params"]["_meta"] = {"progressToken": 1}
        async with agent.open(hold, headers=named) as stream:
            await stream.text(b"begun")
            since = last_event(stream)
            assert lab.relay is not None
            lab.relay.kill()
            await lab.relay.wait()
            await stream.broken()
        await lab.start_relay()

        async def linked() -> bool:
            shown = await lab.relay_json("tunnel", "show", "lab")
            return bool(shown["tunnel"]["upstreams"])

        await eventually(linked)
        resumed = [*named, ("Last-Event-ID", since)]
        async with agent.open(method="GET", headers=resumed) as stream:
            await stream.head()
            assert stream.status == 200
            release = call("release", key="k", id=2, modern=False)
            assert (await agent.ask(release, headers=named)).status == 200
            await stream.end()
            assert [event["id"] for event in stream.events] == [1]
            assert stream.events[0]["result"]["content"][0]["text"] == "k"
        # All was said by now: it is told again to whoever missed it, and only that.
        again = await agent.ask(method="GET", headers=resumed)
        assert [event["id"] for event in again.events] == [1]
