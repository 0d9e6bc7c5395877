"""What the tools of a stdio server declare, to check `Mcp-Param-*` headers against.

An HTTP server knows its own tools; in front of a stdio server we ask `tools/list` and keep the
answer for a while. A call is never refused on old knowledge: before that we ask again.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from shared.jsonrpc.envelope import CAPABILITIES_KEY, META_PREFIX, VERSION_KEY
from shared.jsonrpc.param_headers import Mirrored, mirrored
from shared.wire.limits import MIB
from tunnel_client.upstream.stdio_command import StdioLimits
from tunnel_client.upstream.stdio_router import Answered

_MAX_PAGES = 100
_MAX_TOOLS = 5_000
_MAX_BYTES = 32 * MIB
_META_KEYS = (VERSION_KEY, CAPABILITIES_KEY, META_PREFIX + "clientInfo")
_FRESH = 1.0

Found = dict[str, tuple[Mirrored, ...]]
"""By the name of the tool."""
Asker = Callable[[str, dict[str, Any], Answered], None]
"""Sends (method, params) to the shared child and has the answer given."""


class ToolSchemas:
    """A kept copy of the listing; `find` answers from it, `refresh` asks for a new one."""

    def __init__(self, ask: Asker, limits: StdioLimits) -> None:
        self._ask = ask
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._schemas: Found = {}
        self._read_at = float("-inf")
        self._listing: _Listing | None = None

    def find(self, tool: str) -> tuple[Mirrored, ...] | None:
        """Return which arguments of a tool travel in headers, None when it is not known."""
        return self._schemas.get(tool)

    @property
    def age(self) -> float:
        """Seconds since the listing was read."""
        return self._loop.time() - self._read_at

    @property
    def is_fresh(self) -> bool:
        """Whether asking again can tell nothing new."""
        return self.age < _FRESH

    @property
    def is_old(self) -> bool:
        """Whether the listing is worth another look, though not worth waiting for."""
        return self.age > self._limits.schema_age

    def forget(self) -> None:
        """The listing changed, or the child that gave it is gone."""
        self._read_at = float("-inf")
        self._schemas = {}
        if self._listing is not None:
            listing, self._listing = self._listing, None
            listing.end()

    def refresh(self, meta: dict[str, Any], then: Callable[[], None]) -> None:
        """Ask for the listing in the name of a caller's `_meta`; `then` comes once, in any case."""
        if self._listing is None:
            named = {key: meta[key] for key in _META_KEYS if key in meta}
            self._listing = _Listing(self._ask, named, self._read)
            self._listing.waiters.append(then)
            self._listing.start(self._loop, self._limits.listing_timeout)
        else:
            self._listing.waiters.append(then)

    def _read(self, schemas: Found | None) -> None:
        self._listing = None
        self._read_at = self._loop.time()
        if schemas is not None:
            self._schemas = schemas


class _Listing:
    """One walk through the pages of `tools/list`."""

    def __init__(
        self, ask: Asker, meta: dict[str, Any], done: Callable[[Found | None], None]
    ) -> None:
        self._ask = ask
        self._meta = meta
        self._done = done
        self._found: Found = {}
        self._pages = 0
        self._tools = 0
        self._bytes = 0
        self._over = False
        self._timer: asyncio.TimerHandle | None = None
        self.waiters: list[Callable[[], None]] = []

    def start(self, loop: asyncio.AbstractEventLoop, timeout: float) -> None:
        self._timer = loop.call_later(timeout, self._finish, None)
        self._next({})

    def end(self) -> None:
        """Let the waiters go on without an answer."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            waiter()

    def _next(self, more: dict[str, Any]) -> None:
        self._pages += 1
        self._ask("tools/list", {"_meta": self._meta, **more}, self._page)

    def _page(self, result: dict[str, Any] | None, size: int) -> None:
        if self._over:
            return
        tools = result.get("tools") if result is not None else None
        if result is None or type(tools) is not list:
            self._finish(None)
            return
        self._tools += len(tools)
        self._bytes += size
        if self._tools > _MAX_TOOLS or self._bytes > _MAX_BYTES:
            self._finish(None)
            return
        for tool in tools:
            if type(tool) is dict and type(tool.get("name")) is str:
                self._found[tool["name"]] = mirrored(tool.get("inputSchema"))
        cursor = result.get("nextCursor")
        if type(cursor) is str and self._pages < _MAX_PAGES:
            self._next({"cursor": cursor})
        else:
            self._finish(self._found)

    def _finish(self, found: Found | None) -> None:
        self._done(found)
        self.end()
