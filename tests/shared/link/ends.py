"""Two ends of a link over real sockets on loopback, and what their tests wait for."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
from websockets.http11 import Request

from shared.errors import ResetCode
from shared.link.driver import LinkDriver
from shared.link.inbox import Inbox
from shared.link.owner import StreamHandler
from shared.link.transport import MessageHandler
from shared.link.websocket import ClientWebSocket, ServerWebSocket
from shared.version import SUBPROTOCOL
from shared.wire.limits import LinkLimits
from shared.wire.mux import Role
from shared.wire.tools import ToolWord

DEADLINE = 10.0
AUTHORIZATION = "MCP-Tunnel office"
LINK = "0123456789abcdef"
UPGRADE = (
    "GET /tunnel HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n"
)


async def until(check: Callable[[], Any]) -> None:
    """Wait until `check` holds, within the deadline of every test."""
    with anyio.fail_after(DEADLINE):
        while not check():  # noqa: ASYNC110 -- what it waits for is no task's to announce
            await anyio.sleep(0.001)


class Recorder:
    """A transport's handler that keeps what it gets and answers nothing."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.lost: list[tuple[int, str]] = []

    def message_received(self, message: bytes) -> None:
        self.messages.append(message)

    def transport_writable(self) -> None:
        pass

    def transport_lost(self, code: int, reason: str) -> None:
        self.lost.append((code, reason))


@dataclass
class Lane:
    """A stream's handler that records; consumes at once unless `stalled`."""

    driver: LinkDriver
    id: int = 0
    stalled: bool = False
    head: bytes | None = None
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False
    resets: list[tuple[ResetCode, str]] = field(default_factory=list)
    writable: int = 0

    def on_head(self, head: bytes, end: bool) -> None:
        self.head, self.ended = head, end

    def on_response(self, head: bytes, body: bytes) -> None:
        self.head, self.ended = head, True
        self.body += body

    def on_data(self, data: bytes, end: bool) -> None:
        self.body += data
        self.ended = end
        if not self.stalled:
            self.driver.consumed(self.id, len(data))

    def on_reset(self, code: ResetCode, detail: str) -> None:
        self.resets.append((code, detail))

    def on_writable(self) -> None:
        self.writable += 1


Serve = Callable[["Owner", int, bytes, bool], StreamHandler | None]


class Owner:
    """A link's owner that records; `serve` says what happens to a stream the relay opens."""

    driver: LinkDriver

    def __init__(self, serve: Serve | None = None) -> None:
        self.serve = serve
        self.lanes: dict[int, Lane] = {}
        self.facts: list[Any] = []
        self.lost: list[tuple[int, str]] = []
        self.cuts: list[float] = []

    def lane(self, stream: int = 0) -> Lane:
        """Make a handler and remember it."""
        lane = Lane(self.driver, stream)
        self.lanes[stream] = lane
        return lane

    def open(self, head: bytes = b"head", body: bytes = b"") -> Lane:
        """Open a stream as the relay does."""
        lane = Lane(self.driver)
        lane.id = self.driver.open(head, body, lane)
        self.lanes[lane.id] = lane
        return lane

    def request(self, head: bytes = b"head", body: bytes = b"") -> Lane:
        """Open a stream as the relay does, in one frame when the body is small."""
        lane = Lane(self.driver)
        lane.id = self.driver.request(head, body, lane)
        self.lanes[lane.id] = lane
        return lane

    def on_open(self, stream: int, head: bytes, end: bool) -> StreamHandler | None:
        if self.serve is not None:
            return self.serve(self, stream, head, end)
        return self.lane(stream)

    def on_request(self, stream: int, head: bytes, body: bytes) -> StreamHandler | None:
        handler = self.on_open(stream, head, True)
        if stream in self.lanes:
            self.lanes[stream].body += body
        return handler

    def on_catalog(self, upstreams: list[str]) -> None:
        self.facts.append(upstreams)

    def on_drain(self, detail: str) -> None:
        self.facts.append(detail)

    def on_revoke(self, order: int, session: str) -> None:
        self.facts.append((order, session))

    def on_revoked(self, order: int, ended: int) -> None:
        self.facts.append((order, ended))

    def on_grant(self, grant: bytes) -> None:
        self.facts.append(grant)

    def on_tools(self, upstream: str, tools: list[ToolWord]) -> None:
        self.facts.append((upstream, tools))

    def on_late(self, whose: str, answer: bytes) -> None:
        self.facts.append((whose, answer))

    def on_cut(self, seconds: float, reason: str) -> None:
        self.cuts.append(seconds)

    def on_lost(self, code: int, reason: str) -> None:
        self.lost.append((code, reason))


@dataclass
class Sockets:
    """An upgraded WebSocket, both ends of it."""

    server: ServerWebSocket
    client: ClientWebSocket
    server_inbox: Inbox
    client_inbox: Inbox

    def record(self, *, server: bool = False) -> Recorder:
        """Replace the handler of one end by a recorder."""
        recorder = Recorder()
        (self.server if server else self.client).handler = recorder
        return recorder


@dataclass
class Drivers:
    """A link without its handshake: a driver at each end."""

    sockets: Sockets
    relay: Owner
    client: Owner


def _admit(_request: Request) -> None:
    return None


@contextlib.asynccontextmanager
async def sockets(
    server_tls: ssl.SSLContext | None = None, client_tls: ssl.SSLContext | None = None
) -> AsyncIterator[Sockets]:
    """Dial a WebSocket over loopback; both ends are gone afterwards."""
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[tuple[ServerWebSocket, Inbox]] = loop.create_future()
    listener = await loop.create_server(
        lambda: ServerWebSocket(_admit, lambda *ends: opened.set_result(ends)),
        "127.0.0.1",
        0,
        ssl=server_tls,
    )
    port = listener.sockets[0].getsockname()[1]
    scheme = "wss" if client_tls else "ws"
    try:
        with anyio.fail_after(DEADLINE):
            _, client = await loop.create_connection(
                lambda: ClientWebSocket(f"{scheme}://localhost:{port}/tunnel", AUTHORIZATION),
                "127.0.0.1",
                port,
                ssl=client_tls,
                server_hostname="localhost" if client_tls else None,
            )
            inbox = await client.opened()
            server, server_inbox = await opened
        try:
            yield Sockets(server, client, server_inbox, inbox)
        finally:
            client.abort()
            server.abort()
            await until(lambda: client._lost and server._lost)
    finally:
        listener.close()
        await listener.wait_closed()


@contextlib.asynccontextmanager
async def listening(
    admit: Callable[[Request], tuple[int, str] | None],
    opened: Callable[[ServerWebSocket], None] = lambda _: None,
) -> AsyncIterator[int]:
    """Serve WebSockets that answer with an Inbox; returns the port."""
    made: list[ServerWebSocket] = []

    def make() -> ServerWebSocket:
        made.append(ServerWebSocket(admit, lambda socket, _inbox: opened(socket)))
        return made[-1]

    listener = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        for one in made:
            one.abort()
        listener.close()
        await listener.wait_closed()


async def upgrade_by_hand(
    port: int, extra: str = ""
) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
    """Upgrade with bytes of our own; returns the response head and the streams."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{UPGRADE}{extra}\r\n".encode())
    with anyio.fail_after(DEADLINE):
        return await reader.readuntil(b"\r\n\r\n"), reader, writer


@contextlib.asynccontextmanager
async def link(
    limits: LinkLimits | None = None,
    serve: Serve | None = None,
    server_tls: ssl.SSLContext | None = None,
    client_tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Drivers]:
    """Dial a link with a driver at each end."""
    limits = limits or LinkLimits(resume_seconds=0)
    async with sockets(server_tls, client_tls) as ends:
        relay, client = Owner(), Owner(serve)
        relay.driver = LinkDriver(ends.server, Role.RELAY, limits, relay, LINK)
        client.driver = LinkDriver(ends.client, Role.CLIENT, limits, client, LINK)
        try:
            yield Drivers(ends, relay, client)
        finally:
            for owner in (relay, client):
                owner.driver.transport_lost(1000, "the test is over")


def spy(transport: ServerWebSocket | ClientWebSocket) -> list[bytes]:
    """Return a list that grows with every message the transport's handler gets."""
    seen: list[bytes] = []
    handler = transport.handler

    class Spy:
        def message_received(self, message: bytes) -> None:
            seen.append(message)
            handler.message_received(message)

        def transport_writable(self) -> None:
            handler.transport_writable()

        def transport_lost(self, code: int, reason: str) -> None:
            handler.transport_lost(code, reason)

    watching: MessageHandler = Spy()
    transport.handler = watching
    return seen
