"""What a peer says before there is a link, held until a coroutine asks for it."""

from collections import deque
from typing import cast

import anyio

from shared.errors import PeerError
from shared.link.transport import MessageHandler
from shared.wire.limits import KIB

_INBOX_MESSAGES = 8
MAX_EARLY_MESSAGES = 256 * KIB
"""Most messages an inbox holds, however small. What a relay sends again was once written towards
a kernel's buffers of a few MiB, and no message with a frame in it is smaller than 20 bytes."""


class Inbox:
    """Holds the few messages of a handshake until a coroutine asks for them.

    What a relay sends again of a link that goes on comes right behind READY, before the coroutine
    had its turn: a client holds `early_bytes` of that as well.
    """

    def __init__(self, early_bytes: int = 0) -> None:
        self._early_bytes = early_bytes
        self._bytes = 0
        self._messages: deque[bytes] = deque()
        self._lost: PeerError | None = None
        self._arrived = anyio.Event()
        self.waiting_since: float | None = None
        """Since when, in the loop's seconds, a coroutine waits for the next message."""

    def message_received(self, message: bytes) -> None:
        """Keep a message; more than a handshake has lose the peer its connection."""
        self._bytes += len(message)
        held = len(self._messages)
        crowded = held >= _INBOX_MESSAGES and self._bytes > self._early_bytes
        if crowded or held >= MAX_EARLY_MESSAGES:
            raise PeerError("too many messages before the handshake was over")
        self._messages.append(message)
        self._arrived.set()

    def transport_writable(self) -> None:
        """Handshake messages are too small to wait for room."""

    def transport_lost(self, code: int, reason: str) -> None:
        """Wake the reader with the reason."""
        self._lost = LinkLostError(code, reason)
        self._arrived.set()

    async def receive(self) -> bytes:
        """Return the next message; raises LinkLostError when there will be none."""
        while not self._messages:
            if self._lost is not None:
                raise self._lost
            self._arrived = anyio.Event()
            self.waiting_since = anyio.current_time()
            await self._arrived.wait()
        self.waiting_since = None
        return self._messages.popleft()

    def check_connected(self) -> None:
        """Raise LinkLostError when the peer is gone, whatever it said before."""
        if self._lost is not None:
            raise self._lost

    def hand_over(self, handler: MessageHandler) -> None:
        """Pass on what came early, then nothing more."""
        while self._messages:
            handler.message_received(self._messages.popleft())
        if self._lost is not None:
            lost = cast(LinkLostError, self._lost)
            handler.transport_lost(lost.code, lost.reason)


class LinkLostError(PeerError):
    """The link ended; `code` and `reason` are those of the WebSocket close."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"link closed: {code} {reason}".rstrip())
        self.code = code
        self.reason = reason
