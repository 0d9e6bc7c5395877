"""One agent's HTTP exchange on its way through a link: what has come, and what is due."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from shared.errors import PeerError, ResetCode
from shared.link.driver import LinkDriver
from shared.wire.codec import Headers, decode_head

DISCARD_SECONDS = 300.0
"""A legacy call runs on after its agent left (2025-11-25, transports), but not for ever."""
DISCARD_BYTES = 16 * 1024 * 1024

_BOUNDARIES = (b"\n\n", b"\r\n\r\n", b"\r\r")


class Exchange:
    """Collects what a stream brings until the gateway's coroutine takes it.

    The coroutine is woken through `wait`; what it must do next follows from the fields. `expires`
    is wall-clock seconds, checked by `clock` once a second for exchanges that live that long.
    """

    __slots__ = (
        "_clock",
        "_discarded",
        "_driver",
        "_loop",
        "_tail",
        "_waiter",
        "chunks",
        "comment_due",
        "comment_every",
        "disconnected",
        "done",
        "ended",
        "event_stream",
        "expires",
        "failure",
        "head",
        "last_sent",
        "on_done",
        "on_slow",
        "orphaned_at",
        "session",
        "stream",
    )

    def __init__(
        self,
        driver: LinkDriver,
        loop: asyncio.AbstractEventLoop,
        session: str,
        expires: float,
        clock: Callable[[], float],
        comment_every: float,
    ) -> None:
        self._driver = driver
        self._loop = loop
        self._clock = clock
        self._waiter: asyncio.Future[None] | None = None
        self._tail = b""
        self._discarded = 0
        self.stream = 0
        self.session = session
        self.expires = expires
        self.head: tuple[int, Headers] | None = None
        self.chunks: deque[bytes] = deque()
        self.ended = False
        self.failure: ResetCode | None = None
        self.disconnected = False
        self.done = False
        self.event_stream = False
        self.comment_every = comment_every
        self.comment_due = False
        self.last_sent = 0.0
        self.orphaned_at: float | None = None
        self.on_slow: Callable[[], Any] | None = None
        self.on_done: Callable[[Exchange], None] | None = None

    def open(self, head: bytes, body: bytes) -> None:
        """Send the request; raises MisuseError when the link is full."""
        self.stream = self._driver.open(head, body, self)

    # StreamHandler ------------------------------------------------------------------------------

    def on_head(self, head: bytes, end: bool) -> None:
        """Take the response head; a malformed one ends the stream."""
        try:
            self.head = decode_head(head)
        except PeerError:
            self._driver.reset(self.stream, ResetCode.PROTOCOL, "malformed head")
            self.failure = ResetCode.PROTOCOL
        self.ended = end
        self.wake()

    def on_data(self, data: bytes, end: bool) -> None:
        """Keep body bytes until they are sent; drop them when the agent is gone."""
        if self.orphaned_at is not None:
            self._discard(len(data), end)
            return
        if data:
            self.chunks.append(data)
        self.ended = end
        self.wake()

    def on_reset(self, code: ResetCode, detail: str) -> None:
        """End early; a response that was whole already stays whole."""
        if not self.ended:
            self.failure = code
        if self.orphaned_at is not None:
            self.finish()
        self.wake()

    def on_writable(self) -> None:
        """The request was queued whole; nothing waits for room."""

    # Wheel --------------------------------------------------------------------------------------

    def grow_slow(self) -> None:
        """Start to watch for the agent's leaving: worth a task only now."""
        if self.on_slow is not None:
            self.on_slow()

    def sweep(self, now: float) -> None:
        """Enforce what is due: the session's end, keep-alive comments, the end of an orphan."""
        if self._clock() >= self.expires:
            self.cut(ResetCode.REVOKED)
        elif self.orphaned_at is not None:
            if now - self.orphaned_at >= DISCARD_SECONDS:
                self.cancel()
        elif self.event_stream and now - self.last_sent >= self.comment_every:
            self.comment_due = True
            self.wake()

    # The gateway's side -------------------------------------------------------------------------

    def wake(self) -> None:
        """Let the coroutine look again."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def wait(self) -> None:
        """Wait until something happened since the coroutine last looked."""
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def take(self) -> bytes:
        """Return the body bytes that have come; report them to `sent` once they left."""
        chunks = self.chunks
        data = chunks.popleft() if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        return data

    def sent(self, data: bytes) -> None:
        """Give credit back for bytes the agent's connection took, and note where they stopped."""
        self._driver.consumed(self.stream, len(data))
        if self.event_stream:
            self.last_sent = self._loop.time()
            self._tail = data[-4:] if len(data) >= 4 else (self._tail + data)[-4:]

    @property
    def at_event_boundary(self) -> bool:
        """A comment or a last event may stand here without cutting an event in two."""
        return not self._tail or self._tail.endswith(_BOUNDARIES)

    def cut(self, code: ResetCode) -> None:
        """End the exchange at once, at both ends."""
        if not self.done:
            self._driver.reset(self.stream, code)
            self.chunks.clear()
            self.on_reset(code, "")

    def cancel(self) -> None:
        """Tell the upstream that nobody waits any more."""
        if not self.ended and self.failure is None:
            self._driver.reset(self.stream, ResetCode.CANCELLED, "the agent went away")
        self.finish()

    def finish(self) -> None:
        """Count as over; called by the gateway, or by the exchange itself once orphaned."""
        if not self.done:
            self.done = True
            if self.on_done is not None:
                self.on_done(self)

    def orphan(self) -> None:
        """Let a legacy call run on without its agent; what still comes is dropped."""
        self.orphaned_at = self._loop.time()
        waiting = self.take()
        self._discard(len(waiting), self.ended)

    def _discard(self, count: int, end: bool) -> None:
        self._driver.consumed(self.stream, count)
        self._discarded += count
        if end:
            self.ended = True
            self.finish()
        elif self._discarded > DISCARD_BYTES:
            self.cancel()
