"""Messages over a WebSocket: the one file that knows the `websockets` package.

It uses the library's sans-I/O layer under an asyncio Protocol of our own, the same on both sides:
a message costs no task, no queue and no await, and frames that arrive together are handled in one
turn of the loop.
"""

import asyncio
import http
import socket
import struct
from collections.abc import Callable
from typing import cast

import anyio
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import OPEN, SEND_EOF
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from shared.errors import CloseCode, NotSpokenError, PeerError
from shared.link.inbox import Inbox, LinkLostError
from shared.link.reading import Reader
from shared.link.transport import MessageHandler
from shared.version import SUBPROTOCOL
from shared.wire.limits import KIB, MAX_MESSAGE_BYTES
from shared.wire.sequence import MAX_KEPT_BYTES

CLOSE_TIMEOUT = 1.0
"""Seconds a peer gets to answer our close."""
MAX_FRAGMENTS = 256
"""WebSocket frames one message may come in; middleboxes may split, attackers flood."""
MAX_IDLE_PINGS = 64
"""WebSocket PINGs answered between two messages, or while the peer takes none of the answers."""
WRITE_HIGH_WATER = 256 * KIB
_AT_ONCE = struct.pack("ii", 1, 0)


class UpgradeRefusedError(PeerError):
    """The relay answered the upgrade with something other than 101; `status` is its HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the relay refused the upgrade with HTTP {status}")
        self.status = status


class WebSocketTransport(Reader):
    """One WebSocket as a MessageTransport; subclasses do the opening handshake."""

    _ws: ClientProtocol | ServerProtocol

    def __init__(self) -> None:
        self.handler: MessageHandler = Inbox()
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._fragments: list[bytes] = []
        self._pings = 0
        self._lost = False
        self._closing: asyncio.TimerHandle | None = None
        self._upgraded = False

    # asyncio.Protocol ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over a connected transport, plain or TLS."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)

    def data_received(self, data: bytes | memoryview) -> None:
        """Parse bytes and hand whole messages on, all in this turn of the loop."""
        self._ws.receive_data(data)  # type: ignore[arg-type] # it appends it to what it has
        self._handle_events()
        self._write_out()

    def eof_received(self) -> None:
        """Let the close handshake finish; asyncio then closes the transport."""
        self._ws.receive_eof()
        self._handle_events()
        self._write_out()

    def connection_lost(self, error: Exception | None) -> None:
        """Report the loss once, with the peer's reason where it gave one."""
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        if self._lost:
            return
        self._lost = True
        received = self._ws.close_rcvd
        self._release()
        if received is not None:
            self.handler.transport_lost(received.code, received.reason)
        else:
            self.handler.transport_lost(1006, _how_it_broke(error))

    def pause_writing(self) -> None:
        """The peer reads more slowly than we write."""
        self._paused = True

    def resume_writing(self) -> None:
        """The peer caught up."""
        self._paused = False
        self.handler.transport_writable()

    # MessageTransport ---------------------------------------------------------------------------

    @property
    def writable(self) -> bool:
        """Another message may be sent without piling up behind a slow peer."""
        return not self._paused and self._upgraded and self._ws.state is OPEN

    def send(self, message: bytes) -> None:
        """Send one binary message; ignored once the socket is closing."""
        if self._ws.state is OPEN:
            self._ws.send_binary(message)
            self._write_out()

    def close(self, code: int, reason: str) -> None:
        """Send a close frame and give the peer one second."""
        if not self._upgraded:
            self.abort()
            return
        if self._ws.state is OPEN:
            self._ws.send_close(code, reason[:120])
        # Else the library closes already, with a frame that an abort now would lose.
        self._write_out()
        self._close_soon()

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def forget(self) -> None:
        """Drop the connection, and what the kernel holds of it: none of it arrives later."""
        endpoint = None if self._transport is None else self._transport.get_extra_info("socket")
        if endpoint is not None:
            endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.abort()

    # Inside -------------------------------------------------------------------------------------

    def _release(self) -> None:
        """Let go of what a lost connection holds: its transport has up to 300 KiB of TLS buffers.

        The parser and the exception it ended with are cycles; a collection may be hours away.
        """
        self._transport = None
        self._ws.parser.close()
        self._ws.parser_exc = None

    def _close_soon(self) -> None:
        if self._closing is None and not self._lost:
            self._closing = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self.abort)

    def _write_out(self) -> None:
        transport = self._transport
        if transport is None:
            return
        for data in self._ws.data_to_send():
            if data is SEND_EOF or not data:
                if self._upgraded and self._ws.close_rcvd is None and not self._lost:
                    # It may still be sending: closing on unread bytes resets the connection, and
                    # the reset can overtake our reason.
                    self._close_soon()
                    continue
                # TLS has no half-close: closing after the buffer is flushed is the same to both.
                transport.close()
            elif not transport.is_closing():
                transport.write(data)
        if self._ws.close_expected():
            self._close_soon()

    def _handle_events(self) -> None:
        for event in self._ws.events_received():
            if not isinstance(event, Frame):
                self._handshake_event(event)
            elif event.opcode is Opcode.BINARY and event.fin:
                self._deliver(bytes(event.data))
            else:
                self._rare_frame(event)

    def _handshake_event(self, event: Request | Response) -> None:
        raise NotImplementedError

    def _deliver(self, message: bytes) -> None:
        if self._closing is not None:
            return
        if not self._paused:
            self._pings = 0
        try:
            self.handler.message_received(message)
        except PeerError as error:
            self.close(error.close_code, str(error))

    def _rare_frame(self, frame: Frame) -> None:
        if self._closing is not None:
            if frame.opcode is Opcode.PING and self._paused:
                self.abort()  # the library still answers each, and nobody reads why it is closed
            return
        if frame.opcode in (Opcode.BINARY, Opcode.CONT):
            self._fragments.append(bytes(frame.data))
            if len(self._fragments) > MAX_FRAGMENTS:
                self.close(CloseCode.TOO_BIG, "message in too many fragments")
            elif frame.fin:
                message, self._fragments = b"".join(self._fragments), []
                self._deliver(message)
        elif frame.opcode is Opcode.PING:
            self._pings += 1
            if self._pings > MAX_IDLE_PINGS:
                self.close(CloseCode.POLICY, "too many WebSocket pings")
        elif frame.opcode is Opcode.TEXT:
            self.close(CloseCode.UNSUPPORTED, "binary messages only")
        elif frame.opcode is Opcode.CLOSE:
            self._close_soon()


def _how_it_broke(error: Exception | None) -> str:
    """Return what is known of a connection that ended without a close frame."""
    if error is None:
        return "the connection broke"
    why = error.strerror if isinstance(error, OSError) else None
    return f"the connection broke: {why or type(error).__name__}"


class ClientWebSocket(WebSocketTransport):
    """The dialling side. `opened` is resolved, or fails, when the relay answered the upgrade."""

    def __init__(self, url: str, authorization: str) -> None:
        super().__init__()
        self.handler = Inbox(MAX_KEPT_BYTES + MAX_MESSAGE_BYTES)
        self._ws = self._client = ClientProtocol(
            parse_uri(url),
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            max_size=MAX_MESSAGE_BYTES,
        )
        self._authorization = authorization
        self._answer = anyio.Event()
        self._refused: PeerError | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the upgrade request."""
        super().connection_made(transport)
        request = self._client.connect()
        request.headers["Authorization"] = self._authorization
        self._client.send_request(request)
        self._write_out()

    async def opened(self) -> Inbox:
        """Wait for the upgrade; raises UpgradeRefusedError, NotSpokenError, LinkLostError."""
        await self._answer.wait()
        if self._refused is not None:
            raise self._refused
        return cast(Inbox, self.handler)

    def connection_lost(self, error: Exception | None) -> None:
        """Fail a handshake that still waits."""
        if not self._upgraded and self._refused is None:
            self._refused = LinkLostError(1006, "the connection broke during the upgrade")
        self._answer.set()
        super().connection_lost(error)

    def _handshake_event(self, event: Request | Response) -> None:
        error = self._ws.handshake_exc
        if error is None and self._ws.subprotocol != SUBPROTOCOL:
            self._refused = NotSpokenError("its WebSocket does not speak " + SUBPROTOCOL)
        elif isinstance(error, InvalidStatus):
            self._refused = UpgradeRefusedError(error.response.status_code)
        elif error is not None:
            self._refused = PeerError(f"the upgrade failed: {error}")
        else:
            self._upgraded = True
        self._answer.set()
        if self._refused is not None:
            self.abort()


Admit = Callable[[Request], tuple[int, str] | None]
"""Judge an upgrade request before it is answered: None lets it in, else an HTTP status and text."""


class ServerWebSocket(WebSocketTransport):
    """The listening side: `admit` judges the upgrade, `on_open` gets the socket once it is open.

    It takes messages of up to `most` bytes, until that is changed.
    """

    def __init__(
        self,
        admit: Admit,
        on_open: Callable[["ServerWebSocket", Inbox], None],
        most: int = MAX_MESSAGE_BYTES,
    ) -> None:
        super().__init__()
        self._ws = self._server = ServerProtocol(
            subprotocols=[Subprotocol(SUBPROTOCOL)], max_size=most
        )
        self._admit = admit
        self._on_open = on_open
        self.peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember who dialled."""
        super().connection_made(transport)
        address = transport.get_extra_info("peername")
        self.peer = str(address[0]) if isinstance(address, tuple) else ""

    def take_up_to(self, most: int) -> None:
        """Take messages of up to so many bytes from now on."""
        self._server.max_message_size = most

    def _handshake_event(self, event: Request | Response) -> None:
        server = self._server
        request = cast(Request, event)
        refusal = self._admit(request)
        if refusal is not None:
            server.send_response(server.reject(http.HTTPStatus(refusal[0]), refusal[1] + "\n"))
            return
        response = server.accept(request)
        server.send_response(response)
        if response.status_code == 101:
            self._upgraded = True
            # The 101 has to be on its way before anything the opener sends.
            self._write_out()
            self._on_open(self, cast(Inbox, self.handler))
