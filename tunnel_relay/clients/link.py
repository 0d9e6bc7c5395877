"""One link of a client: what its driver reports, and what the relay knows of it."""

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog

from shared.audit.events import note
from shared.errors import CloseCode, ResetCode
from shared.few import Few
from shared.link.driver import LinkDriver
from shared.link.owner import StreamHandler
from shared.link.transport import MessageTransport
from shared.wire.limits import LinkLimits
from shared.wire.mux import Role
from shared.wire.tools import ToolWord
from tunnel_relay.audit.facts import of_tools
from tunnel_relay.clients.grants import LinkGrants
from tunnel_relay.clients.watch import Watch
from tunnel_relay.store.base import Session

if TYPE_CHECKING:
    from tunnel_relay.clients.registry import Registry

log = structlog.get_logger("tunnel_relay.links")

_CLOSE_CODES = frozenset(CloseCode)


def close_name(code: int) -> str:
    """Return the name of a close code, `other` for one that is not ours: a peer may send any."""
    return CloseCode(code).name.lower() if code in _CLOSE_CODES else "other"


class Link:
    """One link of a client: what the driver reports about it, and what the relay knows of it.

    `process` is the client's since its start, `slot` which of that process's links this is.
    """

    def __init__(
        self,
        registry: "Registry",
        tunnel: str,
        instance: str,
        epoch: int,
        process: str = "",
        slot: int = 0,
    ) -> None:
        self._registry = registry
        self.tunnel = tunnel
        self.instance = instance
        self.epoch = epoch
        self.process = process
        self.slot = slot
        self.peer = ""
        self.program = ""
        self.since = time.time()
        self.resumed = 0
        self.waits_until = 0.0
        """While its connection is cut: when the link is given up, by the loop's clock."""
        self.cut_at = 0.0
        """When it was cut: until then, at the latest, the client may have heard the relay."""
        self.upstreams: frozenset[str] = frozenset()
        self.tools: dict[str, dict[str, ToolWord]] = {}
        """One for all links of a process: each of them is told the same."""
        self.orders: dict[int, Callable[[int | None], None]] = {}
        self.name = ""
        """The same at both ends; see `LinkDriver`."""
        self.watch = Watch(self, registry.beside)
        self._few = Few()
        self.driver: LinkDriver
        self.grants: LinkGrants

    def attach(self, transport: MessageTransport, limits: LinkLimits, link: str) -> None:
        """Start to drive the link over a transport whose handshake is over."""
        self.name = link
        closed = min(self._registry.closed_seconds, limits.resume_seconds)
        self.driver = LinkDriver(transport, Role.RELAY, limits, self, link, closed)

    def resume(self, transport: MessageTransport, taken: int, peer: str) -> None:
        """Go on over another connection, whose client took `taken` frames; raises PeerError."""
        self.driver.resume(transport, taken)
        self.peer = peer
        self.resumed += 1
        self._registry.resumed += 1
        if not self.watch.on:
            self.watch.begin()
        self._registry.changed()
        note("link.resumed", **self.named(), source=peer, times=self.resumed)
        log.info("link resumed", **self.names(), peer=peer, times=self.resumed)

    def refused(self, code: ResetCode, session: Session) -> None:
        """The client ended a call of a session early: what that means for the next ones."""
        if code is ResetCode.NO_GRANT:
            # The client let go of it; it gets another one before the next call.
            self.grants.forget(session.id)
        elif code is ResetCode.UPSTREAM_UNREACHABLE:
            self._registry.failing.failed((self.tunnel, self.instance, session.upstream))

    def on_open(self, stream: int, head: bytes, end: bool) -> StreamHandler | None:
        """Never called: the mux of the relay's role refuses OPEN frames."""
        return None

    def on_request(self, stream: int, head: bytes, body: bytes) -> StreamHandler | None:
        """Never called: the mux of the relay's role refuses REQUEST frames."""
        return None

    def on_catalog(self, upstreams: list[str]) -> None:
        """The client serves these upstreams now."""
        self.upstreams = frozenset(upstreams)
        self._registry.changed()

    def on_drain(self, detail: str) -> None:
        """Never called: only the relay drains."""

    def on_revoke(self, order: int, session: str) -> None:
        """Never called: only the relay revokes."""

    def on_revoked(self, order: int, ended: int) -> None:
        """The client carried out an order."""
        told = self.orders.pop(order, None)
        if told is not None:
            told(ended)

    def on_grant(self, grant: bytes) -> None:
        """Never called: only the relay grants."""

    def on_tools(self, upstream: str, tools: list[ToolWord]) -> None:
        """The client said all there is to know of an upstream's tools."""
        before = self.tools.get(upstream)
        told = {tool.name: tool for tool in tools}
        if before == told:
            return
        self.tools[upstream] = told
        left_out = self._few.take(time.monotonic())
        if left_out is not None:
            facts = of_tools(before or {}, told)
            note("tool.told", **self.named(), upstream=upstream, left_out=left_out, **facts)

    def tool(self, upstream: str, name: str) -> ToolWord | None:
        """Return what the client said of one tool."""
        tools = self.tools.get(upstream)
        return None if tools is None else tools.get(name)

    def on_late(self, whose: str, answer: bytes) -> None:
        """The result of a cut call came: nobody gets it, and the log says that there was one."""
        digest = hashlib.sha256(answer).hexdigest()[:16]
        log.warning(
            "late_result", session=whose[:12], bytes=len(answer), sha256=digest, **self.names()
        )

    def on_cut(self, seconds: float, reason: str) -> None:
        """The connection is gone, and the client may resume the link on another."""
        self.cut_at = asyncio.get_running_loop().time()
        self.waits_until = self.cut_at + seconds
        self._registry.changed()
        note("link.cut", **self.named(), reason=reason, waits=seconds)
        log.info("link cut", **self.names(), reason=reason, waits=seconds)

    def on_lost(self, code: int, reason: str) -> None:
        """The link is gone."""
        self._registry.lost[close_name(code)] += 1
        self._registry.remove(self, code)
        orders, self.orders = self.orders, {}
        for told in orders.values():
            told(None)
        log.info("link lost", **self.names(), code=code, reason=reason)
        note("link.down", **self.named(), code=int(code), reason=reason)

    def named(self) -> dict[str, Any]:
        """Return what a record says about the link."""
        return {
            "epoch": self.epoch,
            "instance": self.instance,
            "link": self.name,
            "tunnel": self.tunnel,
        }

    def names(self) -> dict[str, Any]:
        """Return what a log line says about the link."""
        facts = {"tunnel": self.tunnel, "instance": self.instance[:8], "epoch": self.epoch}
        return facts | {"slot": self.slot}

    def facts(self) -> dict[str, Any]:
        """Return what `status` shows about the link."""
        return {
            **self.names(),
            "instance": self.instance,
            "peer": self.peer,
            "program": self.program,
            "since": self.since,
            "upstreams": sorted(self.upstreams),
            "resumed": self.resumed,
            "detached": self.driver.detached,
            "draining": self.driver.draining,
            "streams": self.driver.open_streams,
            "round_trip_ms": round(self.driver.round_trip * 1000, 2),
        }
