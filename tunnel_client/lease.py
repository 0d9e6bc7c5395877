"""Without a word from the relay for too long, what agents began here ends.

The relay may have ended a session meanwhile, and nobody could tell us. Streams end with their
link; a legacy call at a stdio server runs on, so that its agent can come back for the answer, but
no longer than the lease.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

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
    _up: set[object] = field(default_factory=set)
    _timers: dict[object, asyncio.TimerHandle] = field(default_factory=dict)

    def check(self, limits: LinkLimits) -> None:
        """Raise PingsTooRareError when a link with these limits could be silent for longer."""
        if limits.silence > self.seconds:
            raise PingsTooRareError(
                f"on this relay's links it can be silent for {limits.silence:g} s, "
                f"and relay.lease is {self.seconds:g} s"
            )

    def link_up(self, link: object) -> None:
        """The relay is heard, for the first time or again, on this link."""
        self._up.add(link)
        timer = self._timers.pop(link, None)
        if timer is not None:
            timer.cancel()

    def link_lost(self, link: object, heard: float, lapse: Callable[[], None]) -> None:
        """The connection is gone; its last message came at `heard`, by the loop's clock.

        `lapse` ends what still waits for the link when the lease is over. Only the first loss of
        a link that was up counts.
        """
        if link not in self._up:
            return
        self._up.discard(link)
        loop = asyncio.get_running_loop()
        self._timers[link] = loop.call_at(heard + self.seconds, self._lapse, link, lapse)

    def _lapse(self, link: object, lapse: Callable[[], None]) -> None:
        del self._timers[link]
        lapse()
        if self._up or self._timers:
            return  # the relay is heard on another link, or was heard later there
        ended = sum(upstream.lapse() for upstream in self.upstreams)
        log.warning("lease lapsed", seconds=self.seconds, ended=ended)
