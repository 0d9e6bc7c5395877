"""Without a word from the relay for too long, what agents began here ends.

The relay may have ended a session meanwhile, and nobody could tell us. Streams end with their
link; a legacy call at a stdio server runs on, so that its agent can come back for the answer, but
no longer than the lease.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from shared.wire.limits import LinkLimits
from tunnel_client.errors import PingsTooRareError
from tunnel_client.upstream.base import Upstream

log = structlog.get_logger("tunnel_client.lease")


@dataclass
class Lease:
    """How long, in seconds, this client serves without hearing its relay; one a client."""

    seconds: float
    upstreams: Iterable[Upstream]
    _timer: asyncio.TimerHandle | None = None

    def check(self, limits: LinkLimits) -> None:
        """Raise PingsTooRareError when a link with these limits could be silent for longer."""
        silence = limits.ping_interval + limits.ping_deadline
        if silence > self.seconds:
            raise PingsTooRareError(
                f"on this relay's links it can be silent for {silence:g} s, "
                f"and relay.lease is {self.seconds:g} s"
            )

    def link_up(self) -> None:
        """The relay is heard again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def link_lost(self, heard: float, lapse: Callable[[], None]) -> None:
        """The connection is gone; its last message came at `heard`, by the loop's clock.

        `lapse` ends what still waits for the link when the lease is over.
        """
        self.link_up()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(heard + self.seconds, self._lapse, lapse)

    def _lapse(self, lapse: Callable[[], None]) -> None:
        self._timer = None
        lapse()
        ended = sum(upstream.lapse() for upstream in self.upstreams)
        log.warning("lease lapsed", seconds=self.seconds, ended=ended)
