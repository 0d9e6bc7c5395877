"""The shared child of the modern era, and the question which era a stdio server speaks at all.

A server that knows both eras locks a process to the era of its first request, so the process that
answered `server/discover` serves modern requests for good, and any other is started afresh for
each legacy MCP session.
"""

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Any

import structlog

from shared.jsonrpc.envelope import (
    CAPABILITIES_KEY,
    META_PREFIX,
    MODERN,
    VERSION_KEY,
)
from shared.version import VERSION
from tunnel_client.upstream.stdio_answers import NotJsonError, read_message, write_line
from tunnel_client.upstream.stdio_command import StdioLimits
from tunnel_client.upstream.stdio_pool import ChildPool, RefusedError
from tunnel_client.upstream.stdio_process import Child

_PROBE_ID = "mt-probe"
_MODERN_CODES = frozenset({-32020, -32021, -32022})
_CLIENT_INFO = {"name": "mcp-tunnel", "version": VERSION}
_DOUBTED_FOR = 300.0


class Era(Enum):
    """What the server speaks; a server of both eras counts as modern here."""

    MODERN = "modern"
    LEGACY = "legacy"


Waiter = Callable[[Era | RefusedError], None]


def verdict(message: dict[str, Any]) -> tuple[Era, list[str]]:
    """Judge the answer to `server/discover`: the era, and the modern versions it names.

    Only a DiscoverResult or an error of the modern range counts as modern (2026-07-28, versioning:
    not to be keyed on one code).
    """
    result, error = message.get("result"), message.get("error")
    if type(result) is dict:
        versions = _modern_versions(result.get("supportedVersions"))
        return (Era.MODERN, versions) if versions else (Era.LEGACY, [])
    if type(error) is dict and error.get("code") in _MODERN_CODES:
        data = error.get("data")
        named = data.get("supported") if type(data) is dict else None
        versions = _modern_versions(named)
        if versions or named is None:
            return Era.MODERN, versions or [MODERN]
    return Era.LEGACY, []


def _modern_versions(named: object) -> list[str]:
    if type(named) is not list:
        return []
    return [version for version in named if type(version) is str and version >= MODERN]


def discover_line() -> bytes:
    """Return the probe."""
    meta = {
        VERSION_KEY: MODERN,
        CAPABILITIES_KEY: {},
        META_PREFIX + "clientInfo": _CLIENT_INFO,
    }
    return _request("server/discover", {"_meta": meta})


def _initialize_line() -> bytes:
    return _request(
        "initialize",
        {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": _CLIENT_INFO},
    )


def _request(method: str, params: dict[str, Any]) -> bytes:
    return write_line({"jsonrpc": "2.0", "id": _PROBE_ID, "method": method, "params": params})


class SharedChild:
    """Starts and probes the shared child when it is first wanted, and again after a crash.

    `on_line` gets what the child says once it serves; `on_end(reason)` its crash while it served.
    """

    def __init__(
        self,
        pool: ChildPool,
        limits: StdioLimits,
        log: structlog.typing.FilteringBoundLogger,
        on_line: Callable[[bytes], None],
        on_end: Callable[[str], None],
    ) -> None:
        self._pool = pool
        self._limits = limits
        self._log = log
        self._on_line = on_line
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._child: Child | None = None
        self._probing: Child | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiters: list[Waiter] = []
        self._legacy_until = 0.0
        self.versions: list[str] = [MODERN]

    @property
    def child(self) -> Child | None:
        """The child that serves, None before the probe and after a crash."""
        return self._child

    def want(self, waiter: Waiter) -> None:
        """Call `waiter` with the era, or with why nothing can be said; at once when it is known."""
        if self._child is not None:
            waiter(Era.MODERN)
        elif self._loop.time() < self._legacy_until:
            waiter(Era.LEGACY)
        else:
            self._waiters.append(waiter)
            if len(self._waiters) == 1:
                self._probe(discover_line(), self._probe_ended)

    def stop(self) -> None:
        """Forget all waiters and end the children."""
        self._waiters.clear()
        self._stop_probe()
        if self._child is not None:
            self._child.stop()
            self._child = None

    def _probe(self, line: bytes, on_end: Callable[[str], None]) -> None:
        try:
            self._probing = self._pool.start(self._line, on_end)
        except RefusedError as error:
            self._settle(error)
            return
        self._probing.send(line)
        self._timer = self._loop.call_later(self._limits.probe_timeout, self._timed_out)

    def _line(self, line: bytes) -> None:
        if self._probing is None:
            self._on_line(line)
            return
        try:
            message = read_message(line)
        except NotJsonError:
            self._probing.stderr.note("line that is not JSON-RPC skipped", self._loop.time())
            return
        if message.get("id") == _PROBE_ID and "method" not in message:
            self._judge(message)

    def _judge(self, message: dict[str, Any]) -> None:
        era, versions = verdict(message)
        self._pool.guard.works()
        if era is Era.MODERN:
            self.versions = versions
            self._child, self._probing = self._probing, None
        else:
            self._legacy_until = float("inf")
        self._stop_probe()
        self._log.info("server answered the probe", era=era.value, versions=versions)
        self._settle(era)

    def _timed_out(self) -> None:
        """Silence means legacy; but a slow first start looks alike, so the doubt is kept."""
        self._log.info("server did not answer the probe", era=Era.LEGACY.value)
        self._stop_probe()
        self._legacy_until = self._loop.time() + _DOUBTED_FOR
        self._settle(Era.LEGACY)

    def _stop_probe(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._probing is not None:
            self._probing.stop()
            self._probing = None

    def _probe_ended(self, reason: str) -> None:
        if self._probing is None:
            self._crashed(reason)
            return
        # Some legacy servers end at a first request they do not know; a broken program ends at
        # any. One `initialize` tells them apart.
        self._probing = None
        self._stop_probe()
        self._probe(_initialize_line(), self._confirm_ended)

    def _confirm_ended(self, reason: str) -> None:
        self._probing = None
        self._stop_probe()
        self._pool.crashed(0.0)
        self._settle(RefusedError(f"the program ended at once: {reason}", 5.0))

    def _crashed(self, reason: str) -> None:
        child, self._child = self._child, None
        if child is not None:
            self._pool.crashed(self._loop.time() - child.started)
        self._on_end(reason)

    def _settle(self, outcome: Era | RefusedError) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter(outcome)
