"""Who a link's streams, and the link's own facts, are for."""

from typing import Protocol

from shared.errors import ResetCode
from shared.wire.tools import ToolWord


class StreamHandler(Protocol):
    """Who a stream's bytes are for; called on the event loop's thread, never waits."""

    def on_head(self, head: bytes, end: bool) -> None:
        """The response head came (relay side only)."""

    def on_response(self, head: bytes, body: bytes) -> None:
        """A whole small response came (relay side only); nothing more comes."""

    def on_data(self, data: bytes, end: bool) -> None:
        """Body bytes came; report them to `LinkDriver.consumed` once used."""

    def on_reset(self, code: ResetCode, detail: str) -> None:
        """The stream ended early; nothing more comes."""

    def on_writable(self) -> None:
        """The stream takes data again after `LinkDriver.data` returned False."""


class _Nobody:
    """Stands in for a stream's handler while the owner makes one."""

    def on_head(self, head: bytes, end: bool) -> None: ...

    def on_response(self, head: bytes, body: bytes) -> None: ...

    def on_data(self, data: bytes, end: bool) -> None: ...

    def on_reset(self, code: ResetCode, detail: str) -> None: ...

    def on_writable(self) -> None: ...


NOBODY = _Nobody()


class LinkOwner(Protocol):
    """Who a link's own facts are for."""

    def on_open(self, stream: int, head: bytes, end: bool) -> StreamHandler | None:
        """The relay opened a stream; None refuses it, after `LinkDriver.reset` or without.

        A stream answered or reset before this returns is over: its handler hears nothing.
        """

    def on_request(self, stream: int, head: bytes, body: bytes) -> StreamHandler | None:
        """The relay opened a stream with a whole small request; as `on_open` otherwise."""

    def on_catalog(self, upstreams: list[str]) -> None:
        """The client serves these upstreams."""

    def on_drain(self, detail: str) -> None:
        """The relay asks to move to another link."""

    def on_revoke(self, order: int, session: str) -> None:
        """The relay cuts a session."""

    def on_revoked(self, order: int, ended: int) -> None:
        """The client carried out an order."""

    def on_grant(self, grant: bytes) -> None:
        """The relay says what a session is, before the first stream that names it."""

    def on_tools(self, upstream: str, tools: list[ToolWord]) -> None:
        """The client said all there is to know of an upstream's tools."""

    def on_late(self, whose: str, answer: bytes) -> None:
        """Part of an answer came for a stream that `LinkDriver.cut` ended for `whose`; once."""

    def on_cut(self, seconds: float, reason: str) -> None:
        """The connection was cut, and why; the link waits this long for `LinkDriver.resume`."""

    def on_lost(self, code: int, reason: str) -> None:
        """The link is gone; its streams were told already. Called once."""
