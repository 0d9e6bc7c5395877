"""Carries messages between an agent on stdio and an MCP server over HTTP, in both eras.

A request is a task of its own, so that many run at once. Notifications, and answers to the
server's requests, go one after another: their order means something. `initialized` is waited for,
because a server refuses what overtakes it.
"""

from typing import Any

import anyio
import anyio.abc
import httpx2
import jiter

from shared.jsonrpc.envelope import (
    INVALID_REQUEST,
    Envelope,
    EnvelopeError,
    Kind,
    error_body,
    parse,
)
from tunnel_client.connect.agent_lines import AgentGoneError, AgentLines
from tunnel_client.connect.call import Call
from tunnel_client.connect.faults import error_of, fault
from tunnel_client.connect.headers import ToolHeaders, cancelled_id, message_headers
from tunnel_client.connect.http import drain, refusal
from tunnel_client.connect.listener import listen
from tunnel_client.connect.mcp_session import McpSession
from tunnel_client.connect.notes import Notes
from tunnel_client.connect.server import Server
from tunnel_client.errors import ClientError
from tunnel_client.errors_connect import ConnectBusyError

AT_ONCE = 64
"""Requests under way; more wait."""
MAX_PENDING = 256
MAX_WAITING = 256
"""Notifications and answers of the agent; beyond that its lines are left in the pipe."""
LEAVE_SECONDS = 0.8
"""For calls to end once the agent is gone, and again for the goodbye: agents kill after two."""


class Carrier:
    """One agent, one server. `run` ends when the agent does."""

    def __init__(self, lines: AgentLines, server: Server, notes: Notes) -> None:
        self.tools = ToolHeaders()
        self.session = McpSession()
        self._lines = lines
        self._server = server
        self._notes = notes
        self._pending: dict[str | int | None, Call] = {}
        self._slots = anyio.Semaphore(AT_ONCE)
        self._listener: anyio.CancelScope | None = None
        self._modern: str | None = None
        self._idle = anyio.Event()

    async def run(self) -> None:
        """Carry until the agent closes its end."""
        send, receive = anyio.create_memory_object_stream[tuple[Envelope, bytes]](MAX_WAITING)
        try:
            async with anyio.create_task_group() as tasks, send, receive:
                tasks.start_soon(self._send_all, receive)
                await self._read(tasks, send)
                await self._finish()
                tasks.cancel_scope.cancel()
        except* AgentGoneError:
            pass
        finally:
            with anyio.move_on_after(LEAVE_SECONDS, shield=True):
                await self._leave()

    async def _read(self, tasks: anyio.abc.TaskGroup, others: Any) -> None:
        async for line in self._lines.lines():
            if line is None:
                text = "a message is longer than 64 MiB"
                await self._lines.write(error_body(None, INVALID_REQUEST, text))
                continue
            if not line.strip():
                continue
            try:
                envelope = parse(line)
            except EnvelopeError as error:
                await self._lines.write(error.body())
                continue
            if envelope.kind is Kind.REQUEST:
                await self._request(tasks, envelope, line)
            elif not self._cancels_here(envelope):
                if envelope.method == "notifications/initialized":
                    await self._initialized(tasks, envelope, line)
                else:
                    await others.send((envelope, line))

    async def _request(self, tasks: anyio.abc.TaskGroup, envelope: Envelope, line: bytes) -> None:
        before = self._pending.get(envelope.id)
        if before is not None and not before.answered:
            self._notes.say("the agent used an id twice; the second request was dropped")
            return
        if len(self._pending) >= MAX_PENDING:
            busy = ConnectBusyError(f"{MAX_PENDING} requests wait already")
            await self._lines.write(fault(busy, envelope.id, "never_sent"))
            return
        if envelope.is_modern:
            self._modern = envelope.version
        call = Call(envelope, line, self._server, self)
        self._pending[envelope.id] = call
        tasks.start_soon(self._run, call)

    async def _run(self, call: Call) -> None:
        try:
            if call.listens:
                await call.run()
            else:
                async with self._slots:
                    await call.run()
        finally:
            if self._pending.get(call.envelope.id) is call:
                del self._pending[call.envelope.id]
            if not any(not each.listens for each in self._pending.values()):
                self._idle.set()

    def _cancels_here(self, envelope: Envelope) -> bool:
        """Act on a cancellation; False when the message has to go to the server."""
        about = cancelled_id(envelope)
        call = None if about is None else self._pending.get(about)
        return call is not None and not call.answered and not call.cancel()

    async def _initialized(
        self, tasks: anyio.abc.TaskGroup, envelope: Envelope, line: bytes
    ) -> None:
        if self._listener is not None:
            self._listener.cancel()
        if await self._send_one(envelope, line) and self._modern is None:
            self._listener = anyio.CancelScope()
            tasks.start_soon(listen, self._server, self, self._notes, self._listener)

    async def _send_all(self, messages: Any) -> None:
        async for envelope, line in messages:
            await self._send_one(envelope, line)

    async def _send_one(self, envelope: Envelope, line: bytes) -> bool:
        """POST what has no answer; nobody but a person could be told that it failed."""
        headers = message_headers(envelope, self.tools, self.session.version or self._modern)
        headers |= self.session.header
        what = envelope.method or "the answer to a request of the server"
        try:
            async with self._server.send("POST", headers, line, may_ask=False) as response:
                await drain(response)
                if response.is_success:
                    return True
                self._notes.say(f"{what}: the server answered {response.status_code}")
        except ClientError as error:
            self._notes.say(f"{what}: {error}")
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            self._notes.say(f"{what}: {refusal(error, self._server.url)}")
        return False

    async def deliver(self, message: bytes, call: Call | None) -> None:
        """Pass a message of the server on, unless it is one nobody asked for."""
        try:
            document = jiter.from_json(message)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            self._notes.say("the server sent something that is not a JSON-RPC message")
            return
        if "method" not in document:
            if call is not None and document.get("id") is None:
                told = error_of(message, call.envelope.id)
                if told is not None:
                    await self.answer(call, told)
                    return
            if call is None or not _answers(document, call):
                self._notes.say("the server answered a request that is not the stream's")
                return
            self._learn(call, document.get("result"))
            call.answered = True
        # Line ends stand between tokens only: inside of a string JSON writes them as \n.
        await self._lines.write(message.replace(b"\r", b" ").replace(b"\n", b" "))

    async def answer(self, call: Call, body: bytes) -> None:
        """Give an answer of our own."""
        call.answered = True
        await self._lines.write(body)

    def _learn(self, call: Call, result: object) -> None:
        if call.envelope.method == "initialize":
            self.session.agreed(result)
            self._modern = None
        elif call.envelope.method == "tools/list":
            self.tools.learn(result)

    async def _finish(self) -> None:
        """Let calls end that are about to: a script may close its pipe behind its questions."""
        self._idle = anyio.Event()
        if any(not each.listens for each in self._pending.values()):
            with anyio.move_on_after(LEAVE_SECONDS):
                await self._idle.wait()

    async def _leave(self) -> None:
        if self.session.id is None:
            return
        try:
            headers = self.session.get_headers(None)
            async with self._server.send("DELETE", headers, may_ask=False) as response:
                await drain(response)
        except (ClientError, httpx2.HTTPError):
            pass  # it may refuse (405), or be gone: the MCP session then ends by time


def _answers(document: dict[str, Any], call: Call) -> bool:
    identity, wanted = document.get("id"), call.envelope.id
    return type(identity) is type(wanted) and identity == wanted
