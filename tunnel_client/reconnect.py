"""What to do when a link ended or could not be made; pure: facts in, a decision out."""

from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus

from shared.backoff import Backoff
from shared.errors import FINAL_CLOSE_CODES, AuthError, CloseCode
from shared.link.websocket import UpgradeRefusedError
from tunnel_client.errors import EXIT_CONFIGURATION, EXIT_NOT_PERMITTED, ClientError

_REVOKED = (
    "MT2501: the relay revoked this client's key or disabled its tunnel, so it will not try again"
    "\n  next: ask the relay's admin for a join code, then run:"
    " tunnel-client enroll wss://RELAY --force"
)
_REPLACED = (
    "MT2502: another connection used this client's key, or its state was restored from a copy, "
    "so the relay refuses it now"
    "\n  next: find the copy and remove it; ask the relay's admin for a join code, then run:"
    " tunnel-client enroll wss://RELAY --force"
)
_RELAY_UNPROVEN = (
    "MT2503: the relay could not prove that it is the one this client was enrolled with"
    "\n  next: compare `tunnel-relay status` with the key in the configuration, then enroll again"
)

_TOO_MANY = (
    "MT2507: this relay takes fewer links of one client than relay.links says"
    "\n  next: lower relay.links here, or raise limits.links_per_client at the relay"
)

WORTH_SECONDS = 1.0
"""A connection that held for less was cut in a hurry."""
AT_ONCE_SECONDS = 0.25
"""Clients of a relay that all lost it together do not dial in the same moment."""
MOVED_SECONDS = 0.1
"""The same where the relay said that it goes: calls wait at the one that takes over."""
SOON_SECONDS = 0.5
"""A relay waits a second for the client of a connection that was closed."""
PLACE_SECONDS = 300.0
"""After this, at most, a relay that had no place for a link is asked again."""
PLACE_SOONEST = 1.0
"""The same, at most, where a link of ours ended."""
CROWDED_SECONDS = 8.0
"""A relay with too much to do is asked again within this: it takes one of a few, now and then."""
MAX_AT_ONCE = 8
MAX_SOON = 64
"""So often in a row a connection may be cut in a hurry before each next one comes less soon."""
TOLD_EACH = 8
TOLD_LATER = 64
"""Failures in a row: the first are told each, then those at a power of two, then every 64th."""


class KeyUse(Enum):
    """What is known of who uses this client's key; the same for all links of the process."""

    OURS = "nobody else was seen with it"
    CONTESTED = "another connection took a link of ours over, with a key that is ours alone"
    REFUSED = "the relay saw a counter twice, or refuses the key since another one used it"


_KEY_AFTER: dict[tuple[KeyUse, bool, int], KeyUse] = {
    (KeyUse.OURS, True, CloseCode.REPLACED): KeyUse.CONTESTED,
    (KeyUse.OURS, False, CloseCode.REPLACED): KeyUse.REFUSED,
    (KeyUse.CONTESTED, False, CloseCode.REPLACED): KeyUse.REFUSED,
    (KeyUse.CONTESTED, False, CloseCode.REVOKED): KeyUse.REFUSED,
}
"""By what was known, whether the link was up, and how it was closed; all else tells nothing new."""


def key_after_close(known: KeyUse, code: int, *, made: bool) -> KeyUse:
    """Return what is known of the key after a link, or with `made` unset an attempt, was closed."""
    return _KEY_AFTER.get((known, made, code), known)


@dataclass(frozen=True, slots=True)
class RetryIn:
    """Dial again after this many seconds.

    With `crowded` the relay has more to do than it can: who dials sooner only makes that worse.
    """

    seconds: float
    crowded: bool = False


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Stop with this exit code; `reason` is for the operator.

    With `no_place` only for as long as the relay has no place for this link.
    """

    exit_code: int
    reason: str
    no_place: bool = False


Next = RetryIn | GiveUp


@dataclass(slots=True)
class Reconnect:
    """Counts failures in a row and decides after each.

    Only a link that was up for `stable_after` seconds clears the count: one that is made and
    broken at once, over and over, backs off like one that is never made. Refusals of relays that
    have too much to do count apart, until a link is made: after an outage the first come soon.
    """

    backoff: Backoff = field(default_factory=Backoff)
    stable_after: float = 30.0
    failures: int = 0
    hurried: int = 0
    crowded: int = 0

    def after_close(
        self, code: int, *, up_for: float, jitter: float, key: KeyUse = KeyUse.OURS
    ) -> Next:
        """Decide after a link was closed with `code`.

        `up_for` is how many seconds the link was ready, `jitter` a random number in 0..1, `key`
        what is known by now.
        """
        if key is KeyUse.REFUSED:
            return GiveUp(EXIT_NOT_PERMITTED, _REPLACED)
        if code == CloseCode.REPLACED:
            # Whoever took over stays unnoticed unless the relay sees our next counter, which is
            # not above theirs: it then locks the key. Hence at once, and never a hard loop.
            return self.after_cut(up_for=up_for, jitter=jitter)
        if code == CloseCode.TOO_MANY:
            return GiveUp(EXIT_CONFIGURATION, _TOO_MANY, no_place=True)
        if code in FINAL_CLOSE_CODES:
            return GiveUp(EXIT_NOT_PERMITTED, _REVOKED)
        if code == CloseCode.POLICY:
            return self._retry_slowly(jitter)
        if code == CloseCode.GOING_AWAY and up_for >= WORTH_SECONDS:
            self._held(up_for)
            return RetryIn(jitter * MOVED_SECONDS)
        return self._retry(up_for, jitter)

    def after_cut(self, *, up_for: float, jitter: float) -> Next:
        """Decide after the connection of a link was cut that can be resumed; arguments as above.

        Calls wait for it, so it comes at once, then soon; where no connection holds for long, over
        and over, as after any other failure.
        """
        self._held(up_for)
        self.hurried = 0 if up_for >= WORTH_SECONDS else self.hurried + 1
        if self.hurried > MAX_SOON:
            return self._retry(up_for, jitter)
        return RetryIn(jitter * (AT_ONCE_SECONDS if self.hurried <= MAX_AT_ONCE else SOON_SECONDS))

    def after_move(self, *, up_for: float, jitter: float) -> RetryIn:
        """Decide after the relay asked for another link, while this one serves; as above."""
        self._held(up_for)
        return RetryIn(jitter * AT_ONCE_SECONDS)

    def made(self) -> None:
        """Learn that a link was made: no relay has too much to do for that."""
        self.crowded = 0

    def forget(self) -> None:
        """Clear the counts: another relay may have come."""
        self.failures = self.crowded = 0

    def sooner(self, decision: RetryIn) -> RetryIn:
        """Return when to dial while calls wait for the link: soon, unless it failed often."""
        if decision.crowded or self.failures > MAX_SOON:
            return decision
        return RetryIn(min(decision.seconds, SOON_SECONDS))

    def after_error(
        self, error: BaseException, *, up_for: float, jitter: float, linked: bool = False
    ) -> Next:
        """Decide after `error` ended a link or an attempt to make one; arguments as above.

        With `linked` these settings made a link once: a file that cannot be read, or says something
        else, may be one that is being written.
        """
        if isinstance(error, AuthError):
            return GiveUp(EXIT_NOT_PERMITTED, _RELAY_UNPROVEN)
        if isinstance(error, ClientError) and not error.retryable and not linked:
            return GiveUp(error.exit_code, str(error))
        if isinstance(error, UpgradeRefusedError) and error.status == HTTPStatus.TOO_MANY_REQUESTS:
            self.crowded += 1
            ceiling = min(self.backoff.ceiling(self.crowded), CROWDED_SECONDS)
            return RetryIn(jitter * ceiling, crowded=True)
        return self._retry(up_for, jitter)

    @property
    def news(self) -> bool:
        """Whether the last end is worth a line: of many in a row, fewer and fewer are."""
        times = self.hurried + self.failures + self.crowded
        return times <= TOLD_EACH or not times & (times - 1) or not times % TOLD_LATER

    def _held(self, up_for: float) -> None:
        """Clear the count after a link that was up for long."""
        if up_for >= self.stable_after:
            self.failures = 0

    def _retry(self, up_for: float, jitter: float) -> RetryIn:
        self.failures = 1 if up_for >= self.stable_after else self.failures + 1
        return RetryIn(self.backoff.delay(self.failures, jitter))

    def _retry_slowly(self, jitter: float) -> RetryIn:
        # The relay answers every key it does not know alike, so this may be its store being
        # restored: worth another try, not worth hammering.
        self.failures += 1
        return RetryIn(self.backoff.cap * (1 + jitter) / 2)
