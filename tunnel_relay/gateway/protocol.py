"""The HTTP server's connection, with the bounds uvicorn leaves open.

uvicorn's httptools protocol reads heads of any size for any time, and lets an agent that stops
reading keep its connection for ever. All three are bounded here; nothing else is changed.
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0
HEAD_BYTES = 48 * 1024
"""The gateway answers 431 above 32 KiB; what goes beyond this is not worth an answer."""
STALL_SECONDS = 60.0
"""An agent that takes nothing for this long is cut."""


class RelayHttpProtocol(HttpToolsProtocol):
    """One agent's connection."""

    _head_bytes = 0
    _in_head = True
    _head_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the deadline of the first head."""
        super().connection_made(cast(asyncio.Transport, transport))
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        self._stop_head_timer()
        self._stop_stall_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes of a head before its parser sees them."""
        if self._in_head:
            self._head_bytes += len(data)
            super().data_received(data)
            if self._in_head and self._head_bytes > HEAD_BYTES:
                self._refuse()
        else:
            super().data_received(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take off the white space around a value, which the parser leaves at its end.

        It is no part of the value (RFC 9110 section 5.5), and the header = body check is exact.
        """
        super().on_header(name, value.strip(b" \t"))

    def on_headers_complete(self) -> None:
        """The head is over: no deadline until the next one."""
        self._in_head = False
        self._head_bytes = 0
        if self._head_timer is not None:
            self._stop_head_timer()
        super().on_headers_complete()

    def on_message_begin(self) -> None:
        """A head begins; a following one is timed by the keep-alive deadline until then."""
        self._in_head = True
        super().on_message_begin()

    def pause_writing(self) -> None:
        """The agent reads more slowly than we write: it gets some time to go on."""
        super().pause_writing()
        if self._stall_timer is None:
            self._stall_timer = self.loop.call_later(STALL_SECONDS, self._stalled)

    def resume_writing(self) -> None:
        """It went on."""
        self._stop_stall_timer()
        super().resume_writing()

    def handle_websocket_upgrade(self) -> None:
        """The link's own socket takes over: none of our timers may touch it."""
        self._stop_head_timer()
        super().handle_websocket_upgrade()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if self._in_head and not self.transport.is_closing():
            self.transport.close()

    def _refuse(self) -> None:
        self.transport.write(
            b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
            b"content-length: 0\r\nconnection: close\r\n\r\n"
        )
        self.transport.close()

    def _stalled(self) -> None:
        self._stall_timer = None
        cast(Any, self.transport).abort()
