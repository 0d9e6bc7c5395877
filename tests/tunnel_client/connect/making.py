"""A bridge in this process: its agent is the test, its server a recording one."""

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from pydantic import SecretStr

from tests.helpers.agent import Message
from tests.helpers.recording_upstream import RecordingUpstream, recording_upstream
from tunnel_client.connect.address import WebUrl
from tunnel_client.connect.agent_lines import AgentLines
from tunnel_client.connect.carrier import Carrier
from tunnel_client.connect.http import http_for
from tunnel_client.connect.notes import Notes
from tunnel_client.connect.server import Bearer, FixedToken, Server

DEADLINE = 20.0
TOKEN = SecretStr("mts_canary")


class Pipes:
    """The agent's ends of two pipes, and the descriptors of the other ends."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        transport: asyncio.ReadTransport,
        to_bridge: int,
        ends: tuple[int, int],
    ) -> None:
        self._reader = reader
        self._transport = transport
        self._to_bridge = to_bridge
        self.ends = ends

    def send(self, message: Message | bytes) -> None:
        """Write one line."""
        line = json.dumps(message).encode() if isinstance(message, dict) else message
        self.send_raw(line + b"\n")

    def send_raw(self, data: bytes) -> None:
        """Write bytes."""
        os.write(self._to_bridge, data)

    async def line(self) -> bytes:
        """Read one line as it came."""
        with anyio.fail_after(DEADLINE):
            return await self._reader.readuntil(b"\n")

    async def receive(self) -> Any:
        """Read one message."""
        return json.loads(await self.line())

    def stop_reading(self) -> None:
        """Close the end that the bridge writes to."""
        self._transport.close()

    def leave(self) -> None:
        """Close the end that the bridge reads."""
        if self._to_bridge >= 0:
            os.close(self._to_bridge)
            self._to_bridge = -1


@asynccontextmanager
async def pipes() -> AsyncIterator[Pipes]:
    """Make two pipes; all their ends are closed after."""
    incoming, to_bridge = os.pipe()
    from_bridge, outgoing = os.pipe()
    reader = asyncio.StreamReader(limit=128 * 1024 * 1024)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(from_bridge, "rb", 0)
    )
    made = Pipes(reader, transport, to_bridge, (incoming, outgoing))
    try:
        yield made
    finally:
        made.leave()
        transport.close()
        os.close(outgoing)


class Bridge:
    """A running carrier, its agent and its server; `notes` is what a person would read."""

    def __init__(self, agent: Pipes, upstream: RecordingUpstream, notes: "Kept") -> None:
        self.agent = agent
        self.upstream = upstream
        self.notes = notes
        self.ended = anyio.Event()

    async def begin(self) -> None:
        """Do what a legacy agent does first."""
        self.agent.send(
            {
                "jsonrpc": "2.0",
                "id": "begin",
                "method": "initialize",
                "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {}},
            }
        )
        assert (await self.agent.receive())["id"] == "begin"
        self.agent.send({"jsonrpc": "2.0", "method": "notifications/initialized"})


class Kept(Notes):
    """Notes that a test reads."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@asynccontextmanager
async def bridge(
    upstream: RecordingUpstream | None = None, bearer: Bearer | None = None
) -> AsyncIterator[Bridge]:
    """Run a bridge for the length of the block; the agent leaves at its end."""
    async with recording_upstream(upstream) as serving, pipes() as agent:
        url = WebUrl.parse(serving.url)
        made = Bridge(agent, serving, Kept())
        async with (
            http_for(url, ssl.create_default_context()) as http,
            anyio.create_task_group() as tasks,
        ):
            server = Server(url, http, bearer or FixedToken(TOKEN))
            carrier = Carrier(AgentLines(*agent.ends), server, made.notes)

            async def run() -> None:
                await carrier.run()
                made.ended.set()

            tasks.start_soon(run)
            yield made
            agent.leave()
            with anyio.fail_after(DEADLINE):
                await made.ended.wait()
