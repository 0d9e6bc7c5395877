"""Tasks of a real MCP server: begun, followed and read through the tunnel by whoever began them."""

import tempfile
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from tests.helpers.agent import LEGACY, Agent, initialize, request
from tests.helpers.tunnel import TUNNEL, HttpUpstream, Lab, make_lab
from tests.peers import servers
from tests.system.test_peers import needs_node_packages

pytestmark = pytest.mark.system

NAME = "everything"


class Caller:
    """An agent with an MCP session of its own."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._named: list[tuple[str, str]] = []

    async def begin(self) -> None:
        """Begin the MCP session."""
        reply = await self._agent.ask(initialize())
        self._named = [
            ("Mcp-Session-Id", reply.values("mcp-session-id")[0]),
            ("MCP-Protocol-Version", LEGACY),
        ]
        note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        await self._agent.ask(note, headers=self._named)

    async def ask(self, method: str, **params: Any) -> Any:
        """Return the response to a request."""
        message = request(method, params, id="r", modern=False)
        reply = await self._agent.ask(message, headers=self._named)
        if reply.values("content-type")[0].startswith("text/event-stream"):
            return next(event for event in reply.events if event.get("id") == "r")
        return reply.document


async def a_caller(lab: Lab, user: str) -> Caller:
    """Log a user in and begin."""
    made = await lab.session(NAME, user)
    caller = Caller(Agent(lab.port, f"/t/{TUNNEL}/{NAME}/mcp", SecretStr(made["token"])))
    await caller.begin()
    return caller


@needs_node_packages
@pytest.mark.slow
async def test_s21_a_task_of_a_real_server_is_followed_by_its_own_user_alone() -> None:
    with tempfile.TemporaryDirectory() as folder, anyio.fail_after(90):
        async with servers.started_servers(Path(folder), [NAME]) as (server,):
            assert isinstance(server.upstream, servers.HttpUpstream)
            async with make_lab({NAME: HttpUpstream(server.upstream.url)}) as lab:
                await _follow(await a_caller(lab, "ada"), await a_caller(lab, "eve"))


async def _follow(ada: Caller, eve: Caller) -> None:
    begun = await ada.ask(
        "tools/call",
        name="simulate-research-query",
        arguments={"topic": "tunnels"},
        task={"ttl": 60000},
    )
    task = begun["result"]["task"]["taskId"]
    assert (await ada.ask("tasks/get", taskId=task))["result"]["taskId"] == task
    listed = await ada.ask("tasks/list")
    assert [each["taskId"] for each in listed["result"]["tasks"]] == [task]
    assert (await eve.ask("tasks/list"))["result"]["tasks"] == []
    for method in ("tasks/get", "tasks/result", "tasks/cancel"):
        foreign = await eve.ask(method, taskId=task)
        assert foreign == await eve.ask(method, taskId="never-was")
        assert foreign["error"]["code"] == -32602
    # Waits at the server until the task is over.
    read = await ada.ask("tasks/result", taskId=task)
    assert "tunnels" in read["result"]["content"][0]["text"]
    assert (await ada.ask("tasks/get", taskId=task))["result"]["status"] == "completed"
