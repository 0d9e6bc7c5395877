"""What one end says about the link itself, not about a stream: a base of the driver."""

from abc import ABC, abstractmethod

from shared.wire.mux import Mux
from shared.wire.tools import ToolWord


class ControlWords(ABC):
    """Queues the frames of `shared.wire.control`; they leave with this turn of the loop."""

    _mux: Mux

    @abstractmethod
    def flush_soon(self) -> None:
        """Send at the end of this turn of the loop what was queued in it."""

    @property
    def draining(self) -> bool:
        """The client was asked to move to another link (relay only)."""
        return self._mux.draining

    @property
    def hurried_at(self) -> float:
        """When the peer sent a PING before its time, by the loop's clock; 0: it never did."""
        return self._mux.hurried_at

    def catalog(self, upstreams: list[str]) -> None:
        """Tell the relay which upstreams we serve."""
        self._mux.catalog(upstreams)
        self.flush_soon()

    def drain(self, detail: str) -> None:
        """Ask the client to move to another link."""
        self._mux.drain(detail)
        self.flush_soon()

    def revoke(self, order: int, session: str) -> None:
        """Order the client to cut a session."""
        self._mux.revoke(order, session)
        self.flush_soon()

    def revoked(self, order: int, ended: int) -> None:
        """Report that an order was carried out."""
        self._mux.revoked(order, ended)
        self.flush_soon()

    def grant(self, grant: bytes) -> None:
        """Say what a session is; it is ordered before every stream opened from now on."""
        self._mux.grant(grant)
        self.flush_soon()

    def tools(self, upstream: str, tools: list[ToolWord]) -> None:
        """Tell the relay what there is to know of an upstream's tools."""
        self._mux.tools(upstream, tools)
        self.flush_soon()
