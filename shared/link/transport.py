"""What the driver asks of whatever carries messages: today a WebSocket, one day a bus."""

from typing import Protocol


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
