"""A private MCP server that only speaks stdio, behind the HTTP answers an agent expects."""

import asyncio

import structlog

from shared.errors import ResetCode
from shared.jsonrpc.headers import HANDSHAKE_VERSIONS
from tunnel_client.upstream.base import Exchange, Reply, UpstreamRequest
from tunnel_client.upstream.stdio_answers import header
from tunnel_client.upstream.stdio_command import StdioCommand, StdioLimits
from tunnel_client.upstream.stdio_legacy import LegacyFront
from tunnel_client.upstream.stdio_modern import ModernFront, Settled
from tunnel_client.upstream.stdio_pool import ChildPool
from tunnel_client.upstream.stdio_process import Starter


def is_modern(request: UpstreamRequest) -> bool:
    """Tell which era answers: legacy only for what claims no other version, in header or body.

    A version nobody knows goes to the modern era, which names the versions it serves. A body that
    claims the modern era under a legacy header is a contradiction, not a downgrade.
    """
    version = header(request, b"mcp-protocol-version")
    if version is not None and version not in HANDSHAKE_VERSIONS:
        return True
    envelope = request.envelope
    return envelope is not None and envelope.is_modern and envelope.method != "initialize"


class StdioUpstream:
    """The stdio kind of Upstream: children start when first needed and end with us.

    Must be used on one running event loop, on the thread that outlives the program's work: a
    child is killed with the thread that started it.
    """

    def __init__(
        self,
        name: str,
        command: StdioCommand,
        limits: StdioLimits | None = None,
        starter: Starter | None = None,
    ) -> None:
        self.name = name
        self._starter = starter
        self._command = command
        self._limits = limits or StdioLimits()
        self._log = structlog.get_logger("tunnel_client.upstream.stdio").bind(upstream=name)
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def start(self) -> None:
        """Get ready; no process is started before the first request."""
        self._loop = asyncio.get_running_loop()
        self._pool = ChildPool(
            self._command, self._limits, self._log, self._loop.time, self._starter
        )
        self._modern = ModernFront(self._pool, self._limits, self._log)
        self._legacy = LegacyFront(self._pool, self._limits, self._log)
        self._sweep()

    def open(self, request: UpstreamRequest, reply: Reply) -> Exchange:
        """Begin one exchange; every outcome, failure included, goes to `reply`."""
        if self._closed:
            reply.fail(ResetCode.REFUSED, "the client ends")
            return Settled()
        front = self._modern if is_modern(request) else self._legacy
        return front.open(request, reply)

    def end_session(self, session: str) -> None:
        """End the MCP sessions below a session at once, processes included."""
        self._legacy.end_session(session)
        self._modern.end_session(session)

    def lapse(self) -> int:
        """See `base.Upstream`: modern calls were cancelled with the link, legacy ones run on."""
        return self._legacy.lapse()

    @property
    def children(self) -> int:
        """Processes alive, those that are ending included."""
        return len(self._pool)

    @property
    def last_words(self) -> str:
        """How the last program ended that did so by itself, for operators; empty: none did."""
        return self._pool.last_words

    async def aclose(self) -> None:
        """End every exchange and process; returns when all are reaped."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._modern.stop()
        self._legacy.stop()
        await self._pool.aclose()

    def _sweep(self) -> None:
        now = self._loop.time()
        self._modern.sweep(now)
        self._legacy.sweep(now)
        self._timer = self._loop.call_later(self._limits.sweep, self._sweep)
