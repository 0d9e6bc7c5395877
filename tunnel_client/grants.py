"""The grants of one link: what the relay said, signed, of the sessions that call through it.

A grant is verified once, when it comes, and looked up once a stream. It ends by this machine's
clock, whether the relay says a word or not.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from shared.errors import PeerError
from shared.grant import Grant, decode

log = structlog.get_logger("tunnel_client.grants")

MAX_HELD = 100_000
"""Grants of one link; the oldest gives way, and the relay sends it anew when it is needed."""
MAX_HELD_BYTES = 64 * 1024 * 1024
"""What the grants of one link may weigh as payloads."""
MAX_SKEW = 60.0
"""Seconds by which the relay's clock may differ from ours and be believed."""
QUIET_SECONDS = 10.0


class WallClock:
    """Time that never runs backwards: a clock that is set back revives nothing. One a client."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._mark = clock()

    def now(self) -> float:
        """Return the latest time seen, in seconds since the epoch."""
        now = self._clock()
        if now > self._mark:
            self._mark = now
        return self._mark


class Seldom:
    """Lets one line through in QUIET_SECONDS: a relay that goes on and on fills no disk."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = 0.0
        self._left_out = 0

    def log(self, event: str, **facts: object) -> None:
        """Write a line, or count it."""
        now = self._clock()
        if now < self._next:
            self._left_out += 1
            return
        log.error(event, **facts, left_out=self._left_out)
        self._next, self._left_out = now + QUIET_SECONDS, 0


class RefusedGrantError(PeerError):
    """The relay signed this grant, and it is not for us, or not for now."""


@dataclass(slots=True)
class _Held:
    grant: Grant
    weight: int
    ends: float
    """By our clock."""


class Grants:
    """What is granted on one link, by session; `tunnel`, `instance` and `epoch` name the link."""

    def __init__(
        self, relay_key: bytes, tunnel: str, instance: str, epoch: int, clock: WallClock
    ) -> None:
        self._relay_key = relay_key
        self._link = (tunnel, instance, epoch)
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._weight = 0
        # When each session's last grant was issued: an older one is a recording.
        self._issued: dict[str, float] = {}
        # Sessions that an order on another link ended, and when we heard it.
        self._barred: dict[str, float] = {}
        self._difference: float | None = None
        self._next_end = 0.0
        self.seldom = Seldom()

    def __len__(self) -> int:
        return len(self._held)

    def take(self, payload: bytes) -> Grant:
        """Take what the relay sent; raises PeerError for what no relay of ours sends.

        RefusedGrantError means that the grant was signed and is not taken; the link may go on.
        """
        grant = decode(payload, self._relay_key)
        now = self._clock.now()
        if (grant.tunnel, grant.instance, grant.epoch) != self._link:
            raise RefusedGrantError("a grant for another link")
        if grant.session in self._barred:
            raise RefusedGrantError("a grant from before its session was ended")
        before = self._held.get(grant.session)
        if before is not None and before.grant.upstream != grant.upstream:
            raise RefusedGrantError("a grant that moves a session to another upstream")
        if grant.issued <= self._issued.get(grant.session, -1.0):
            raise RefusedGrantError("a grant that was sent before")
        ends = grant.expires + self._skew(now - grant.issued)
        if ends <= now:
            raise RefusedGrantError("a grant that is over")
        self._put(grant, len(payload), ends)
        return grant

    def _skew(self, difference: float) -> float:
        """Return what to add to the relay's times, from the least difference that was seen."""
        if self._difference is None or difference < self._difference:
            self._difference = difference
            if abs(difference) > MAX_SKEW:
                log.warning("clocks_differ", seconds=round(difference))
        return max(-MAX_SKEW, min(self._difference, MAX_SKEW))

    def _put(self, grant: Grant, weight: int, ends: float) -> None:
        session = grant.session
        self.end(session)
        while self._held and (
            len(self._held) >= MAX_HELD or self._weight + weight > MAX_HELD_BYTES
        ):
            self.end(next(iter(self._held)))
        self._next_end = min(self._next_end, ends) if self._held else ends
        self._held[session] = _Held(grant, weight, ends)
        self._weight += weight
        self._issued.pop(session, None)
        self._issued[session] = grant.issued
        if len(self._issued) > 2 * MAX_HELD:
            del self._issued[next(iter(self._issued))]

    def find(self, session: str) -> Grant | None:
        """Return the living grant of a session."""
        held = self._held.get(session)
        return None if held is None or held.ends <= self._clock.now() else held.grant

    def end(self, session: str) -> None:
        """Forget a session: it was revoked, or its time is over."""
        held = self._held.pop(session, None)
        if held is not None:
            self._weight -= held.weight

    def bar(self, session: str, now: float) -> None:
        """End a session by another link's order: what is under way here is older than that.

        It is kept out until the order comes here as well; `now` is of a monotonic clock.
        """
        self.end(session)
        self._barred.pop(session, None)
        self._barred[session] = now
        if len(self._barred) > MAX_HELD:
            del self._barred[next(iter(self._barred))]

    def admit(self, session: str) -> bool:
        """Take a session in again: the order came here too; tells whether it was kept out."""
        return self._barred.pop(session, None) is not None

    def admit_before(self, asked: float) -> None:
        """Take those in again that were kept out before `asked`: no order will come here."""
        while self._barred and next(iter(self._barred.values())) < asked:
            del self._barred[next(iter(self._barred))]

    def over(self) -> list[str]:
        """Return the sessions whose time is over, and forget them; cheap while none is."""
        now = self._clock.now()
        if not self._held or now < self._next_end:
            return []
        ended = [session for session, held in self._held.items() if held.ends <= now]
        for session in ended:
            self.end(session)
        self._next_end = min((held.ends for held in self._held.values()), default=0.0)
        return ended
