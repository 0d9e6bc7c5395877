"""What all links of this process share: who we are, what we serve, and what ends everywhere."""

import random
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from shared.errors import CloseCode
from shared.link.inbox import LinkLostError
from shared.wire.handshake import PROCESS_HEX
from tunnel_client.audit.calls import Calls
from tunnel_client.grants import WallClock
from tunnel_client.identity import Identity
from tunnel_client.judge import Judge
from tunnel_client.lease import Lease
from tunnel_client.permit_desk import PermitDesk
from tunnel_client.reconnect import KeyUse
from tunnel_client.tally import Tally
from tunnel_client.upstream.base import Upstream

if TYPE_CHECKING:
    from tunnel_client.client_link import ClientLink

LATELY_SECONDS = 5.0
"""So long after a call ended, or a PING came early, some may have been sent that did not come."""


def _nothing(_link: "ClientLink") -> None: ...


@dataclass(slots=True, kw_only=True)
class Process:
    """This process as its links see it; `name` is drawn at each start, and the relay is told it."""

    tunnel: str
    relay_key: bytes
    identity: Identity
    upstreams: Mapping[str, Upstream]
    judge: Judge
    permits: PermitDesk
    calls: Calls
    lease: Lease
    jitter: Callable[[], float] = random.random
    on_link: "Callable[[ClientLink], None]" = _nothing
    """Called when a link is up, before anything is served on it."""
    name: str = field(default_factory=lambda: secrets.token_hex(PROCESS_HEX // 2))
    clock: WallClock = field(default_factory=WallClock)
    tally: Tally = field(default_factory=Tally)
    turn: anyio.Lock = field(default_factory=anyio.Lock)
    """Held from a proof to its READY: a smaller counter that came later would be a copied key's."""
    proved: int = 0
    """The greatest join counter whose proof has left."""
    key_use: KeyUse = KeyUse.OURS
    links: "list[ClientLink]" = field(default_factory=list)
    """Those that are not over."""
    linked: bool = False
    """A link was made since the process began: what is configured can be used."""
    plain: set[str] = field(default_factory=set)
    """Relays that are too old to be told of links beside each other."""
    place: anyio.Event = field(default_factory=anyio.Event)
    """Set when a relay that had no place for a link may have one."""

    @property
    def busy(self) -> bool:
        """Calls run here now or did lately, or the relay asks for us, by whichever link."""
        lately = time.monotonic() - LATELY_SECONDS
        return self.tally.last > lately or any(
            link.driver.open_streams or link.driver.hurried_at > lately for link in self.links
        )

    def check_key(self) -> None:
        """Raise LinkLostError where the relay refused the key to another link: one asks for all."""
        if self.key_use is KeyUse.REFUSED:
            raise LinkLostError(CloseCode.REPLACED, "the relay refused this key to another link")

    def maybe_place(self) -> None:
        """Have links tried again that a relay had no place for."""
        self.place.set()
        self.place = anyio.Event()

    def end_session(self, session: str, by: "ClientLink | None" = None) -> int:
        """End a session on every link and what upstreams hold for it; returns its exchanges.

        `by` is the link that the order came by. The same order is under way on the others, behind
        calls that shall not begin any more.
        """
        ended, now = 0, time.monotonic()
        for link in list(self.links):
            if by is None or link is by:
                link.grants.end(session)
            else:
                link.grants.bar(session, now)
            ended += link.bridge.cut_session(session)
        for upstream in self.upstreams.values():
            upstream.end_session(session)
        return ended

    def granted(self, session: str) -> bool:
        """Tell whether a session has a living grant on any link."""
        return any(link.grants.find(session) is not None for link in self.links)
