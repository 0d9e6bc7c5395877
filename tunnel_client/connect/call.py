"""One request of the agent: its POST, the stream of its answer, and what is resumed of it."""

from collections.abc import AsyncIterator
from typing import Protocol

import anyio
import httpx2

from shared.jsonrpc.envelope import HEADER_MISMATCH, Envelope
from tunnel_client.connect.agent_lines import MAX_LINE
from tunnel_client.connect.events import LONGEST_PAUSE, Event, EventReader, EventTooLargeError
from tunnel_client.connect.faults import Delivery, code_of, error_of, fault
from tunnel_client.connect.headers import ToolHeaders, message_headers
from tunnel_client.connect.http import (
    LINGER_SECONDS,
    NEVER_SENT,
    READ_SECONDS,
    check_encoding,
    read_body,
    refusal,
)
from tunnel_client.connect.listing import learn_tools
from tunnel_client.connect.mcp_session import McpSession
from tunnel_client.connect.server import Server
from tunnel_client.errors import ClientError
from tunnel_client.errors_connect import McpSessionEndedError, ServerAnswerError, TokenRefusedError

MAX_ERROR_BODY = 1024 * 1024
RESUMES = 5
"""Attempts in a row that bring nothing new."""
CANCEL_GRACE = 10.0
"""Seconds a cancelled legacy call may still take to say so."""
LISTEN = "subscriptions/listen"


class Agent(Protocol):
    """What a call needs of whoever talks to the agent."""

    tools: ToolHeaders
    session: McpSession

    async def deliver(self, message: bytes, call: "Call | None") -> None:
        """Pass on one message of the server; marks `call` as answered when it is its answer."""

    async def answer(self, call: "Call", body: bytes) -> None:
        """Give the agent an answer of our own."""


class Call:
    """A request on its way; `answered` once the agent has its response."""

    def __init__(self, envelope: Envelope, body: bytes, server: Server, agent: Agent) -> None:
        self.envelope = envelope
        self.answered = False
        self.cancelled = False
        self._body = body
        self._server = server
        self._agent = agent
        self._scope = anyio.CancelScope()
        self._last_event: str | None = None
        self._retry = 1.0
        self._sent = False
        self._asked_for_tools = False

    @property
    def listens(self) -> bool:
        """Whether it stays open for as long as the agent wants."""
        return self.envelope.method == LISTEN

    def cancel(self) -> bool:
        """Act on the agent's cancellation; True when the server has to be told by a message."""
        self.cancelled = True
        if self.envelope.is_modern:
            self._scope.cancel()  # closing the response stream is how the modern era cancels
            return False
        self._scope.deadline = anyio.current_time() + CANCEL_GRACE
        return True

    async def run(self) -> None:
        """Send it and pass on what comes; ends with an answer unless it was cancelled."""
        with self._scope:
            try:
                await self._post()
                if not self.answered:
                    await self._refuse(ServerAnswerError("the server ended without an answer"))
            except ClientError as error:
                await self._refuse(error)
            except (httpx2.HTTPError, httpx2.StreamError) as error:
                self._sent = self._sent or not isinstance(error, NEVER_SENT)
                await self._refuse(refusal(error, self._server.url))

    async def _refuse(self, error: ClientError) -> None:
        if self.answered or self.cancelled:
            return
        delivery: Delivery = "unknown" if self._sent else "never_sent"
        if isinstance(error, TokenRefusedError):
            delivery = "never_sent"
        await self._agent.answer(self, fault(error, self.envelope.id, delivery))

    async def _post(self) -> None:
        session = self._agent.session
        headers = message_headers(self.envelope, self._agent.tools, session.version)
        begins = self.envelope.method == "initialize"
        if not self.envelope.is_modern and not begins:
            headers |= session.header
        silence = None if self.listens else READ_SECONDS
        async with self._server.send("POST", headers, self._body, silence=silence) as response:
            self._sent = response.is_success or response.status_code >= 500
            if begins and response.is_success:
                session.begin(response.headers.get("mcp-session-id"))
            wants_headers = await self._wants_headers(response)
            if not (wants_headers or self.answered):
                await self._take(response)
        if wants_headers:
            # Refused before it ran: sending it again with what was missing is no second run.
            await learn_tools(self._server, self._agent.tools, self.envelope)
            await self._post()
        if not self.answered and self._last_event is not None and not self.envelope.is_modern:
            await self._resume()

    async def _wants_headers(self, response: httpx2.Response) -> bool:
        """Tell whether a call lacks headers that only the tool's listing tells, this once."""
        unknown = self.envelope.method == "tools/call" and self.envelope.is_modern
        if not unknown or response.status_code != 400 or self._asked_for_tools:
            return False
        if self._agent.tools.knows(self.envelope):
            return False
        self._asked_for_tools = True
        body = await read_body(response, MAX_ERROR_BODY)
        if code_of(body) == HEADER_MISMATCH:
            return True
        await self._explain(response, body)
        return False

    async def _take(self, response: httpx2.Response) -> None:
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not response.is_success:
            await self._failed(response)
        elif kind == "text/event-stream":
            await self._follow(response)
        elif kind == "application/json":
            await self._agent.deliver(await read_body(response, MAX_LINE), self)
        else:
            what = kind if response.status_code == 200 and kind.isascii() else "no answer"
            raise ServerAnswerError(f"the server sent {what[:60] or 'no type'} in place of MCP")

    async def _failed(self, response: httpx2.Response) -> None:
        await self._explain(response, await read_body(response, MAX_ERROR_BODY))

    async def _explain(self, response: httpx2.Response, body: bytes) -> None:
        told = error_of(body, self.envelope.id)
        if told is not None:
            await self._agent.answer(self, told)
        elif response.status_code == 404 and self._agent.session.id is not None:
            raise McpSessionEndedError("the server no longer knows this MCP session")
        else:
            raise ServerAnswerError(f"the server answered with status {response.status_code}")

    async def _follow(self, response: httpx2.Response) -> bool:
        """Pass on events up to the answer and read the stream to its end; True when any came.

        Behind the answer the end is waited for no longer than `drain` does.
        """
        came = False
        try:
            with anyio.CancelScope() as rest:
                async for event in read_events(response):
                    came = True
                    if not self.answered and await self._pass_on(event):
                        rest.deadline = anyio.current_time() + LINGER_SECONDS
        except (httpx2.TransportError, httpx2.StreamError):
            if self.envelope.is_modern or self._last_event is None:
                raise
        return came

    async def _pass_on(self, event: Event) -> bool:
        """Pass on what one event holds; True when that was the answer."""
        if event.id is not None:
            self._last_event = event.id or None
        self._retry = event.pause or self._retry
        if event.data and event.name in ("", "message"):
            await self._agent.deliver(event.data, self)
        return self.answered

    async def _resume(self) -> None:
        """Ask for the rest of a broken stream (legacy: GET with Last-Event-ID)."""
        failures = 0
        while not self.answered and failures < RESUMES:
            await anyio.sleep(min(self._retry * 2 ** max(0, failures - 1), LONGEST_PAUSE))
            failures += 1
            headers = self._agent.session.get_headers(self._last_event)
            try:
                async with self._server.send("GET", headers) as response:
                    if not response.is_success:
                        await self._failed(response)
                    elif await self._follow(response):
                        failures = 0
            except NEVER_SENT:
                continue
        if not self.answered:
            raise ServerAnswerError("the connection broke and the answer could not be fetched")


async def read_events(response: httpx2.Response) -> AsyncIterator[Event]:
    """Yield the events of a response as they come; raises ServerAnswerError for a huge one."""
    check_encoding(response)
    reader = EventReader()
    try:
        async for chunk in response.aiter_raw():
            for event in reader.feed(chunk):
                yield event
    except EventTooLargeError:
        raise ServerAnswerError("the server sent an event that is too large") from None
