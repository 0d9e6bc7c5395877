"""Which sessions somebody is looking for. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from shared.ids import fingerprint
from tunnel_relay.sessions import Refusal
from tunnel_relay.store.base import Session

LIVE = "live"
ALL = "all"
ENDED = "ended"
STATES = (LIVE, ENDED, ALL, *(each.value for each in Refusal if each is not Refusal.UNKNOWN))
"""What may be asked for: live ones, all that are not, all, or one way to end."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a session must be like; `query` is found in any of its names, whatever the case."""

    state: str = LIVE
    user: str | None = None
    query: str = ""

    def test(self) -> Callable[[Session, Refusal | None], bool]:
        """Return what tells whether a session, ended by this, is wanted."""
        state, user, query = self.state, self.user, self.query.strip().lower()

        def wanted(session: Session, ended: Refusal | None) -> bool:
            if not _in_state(ended, state) or user not in (None, session.user):
                return False
            return not query or _holds(session, query)

        return wanted


def _in_state(ended: Refusal | None, state: str) -> bool:
    if state == LIVE:
        return ended is None
    if state == ENDED:
        return ended is not None
    return state == ALL or ended == state


def _holds(session: Session, query: str) -> bool:
    return (
        query in session.user.lower()
        or query in session.agent.lower()
        or query in session.place
        or session.id.startswith(query)
        or fingerprint(session.digest).startswith(query)
    )
