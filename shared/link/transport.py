"""What the driver asks of whatever carries messages: today a WebSocket, one day a bus."""

from typing import Protocol

CUT = 1006
"""The close code of a connection that ended without one (RFC 6455 section 7.4.1)."""


class MessageHandler(Protocol):
    """Who gets what a transport receives; called on the event loop's thread, never waits."""

    def message_received(self, message: bytes) -> None:
        """Take one whole message."""

    def transport_writable(self) -> None:
        """The transport takes messages again."""

    def transport_lost(self, code: int, reason: str) -> None:
        """The transport is gone; called exactly once. `code` is a WebSocket close code."""


class MessageTransport(Protocol):
    """An ordered carrier of whole binary messages with backpressure."""

    handler: MessageHandler

    @property
    def writable(self) -> bool:
        """Another message may be sent without piling up behind a slow peer."""

    def send(self, message: bytes) -> None:
        """Send one message; ignored once the transport is closing."""

    def close(self, code: int, reason: str) -> None:
        """Say why and close; gives the peer one second, then aborts."""

    def abort(self) -> None:
        """Drop the connection without a word: the peer is not listening any more."""


class _NoTransport:
    """Carries nothing and hears nothing: between two connections, and behind a dropped one."""

    writable = False

    def __init__(self) -> None:
        self.handler: MessageHandler = self

    def send(self, message: bytes) -> None: ...

    def close(self, code: int, reason: str) -> None: ...

    def abort(self) -> None: ...

    def message_received(self, message: bytes) -> None: ...

    def transport_writable(self) -> None: ...

    def transport_lost(self, code: int, reason: str) -> None: ...


NO_TRANSPORT = _NoTransport()
