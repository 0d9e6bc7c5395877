"""Which requests still stand: whose session, user, agent and approvers are as they were.

Nothing is written when one of them ends: a lock that is lifted lets its requests stand again.
"""

from collections.abc import Callable
from typing import Protocol

from tunnel_relay.approvals import decide
from tunnel_relay.approvals.decide import state_of
from tunnel_relay.approvals.requests import Requests
from tunnel_relay.audit.keep import Records
from tunnel_relay.directory import Directory
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.locks import LockTable
from tunnel_relay.passkeys import Passkeys
from tunnel_relay.sessions import SessionTable
from tunnel_relay.store.approvals import Approval, State
from tunnel_relay.store.base import LockKind, Store, User


class Owner(Protocol):
    """What approvals need of the Admin they belong to."""

    store: Store
    sessions: SessionTable
    locks: LockTable
    directory: Directory
    passkeys: Passkeys
    records: Records
    clock: Callable[[], float]


class Standing:
    """All requests of a relay, and what is true of each now."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.requests = Requests()

    def now(self) -> float:
        """Return the time; a clock that was set back revives nothing."""
        return max(self._owner.clock(), self._owner.sessions.mark)

    def pending(self) -> list[Approval]:
        """Return what waits for a human and can still be approved, in no order."""
        return [each for each in self.requests.pending(self.now()) if not self.ended(each)]

    def ended(self, approval: Approval) -> bool:
        """Tell whether a request is open by its own state and yet can do nothing any more."""
        return self.problem(approval) is not None

    def problem(self, approval: Approval) -> str | None:
        """Return why an open request can do nothing any more; None for one that is over."""
        if state_of(approval, self.now()) not in (State.PENDING, State.APPROVED):
            return None
        return self.broken(approval)

    def waiting_for(self, who: str) -> int:
        """Return how many requests wait for the word of this user."""
        now = self.now()
        user = self._active(who, now)
        if user is None:
            return 0
        return sum(
            decide.may_decide(each, user)
            and not decide.is_own(each, who)
            and all(voice.user != who for voice in each.voices)
            for each in self.pending()
        )

    def broken(self, approval: Approval) -> str | None:
        """Return what has changed so that it can do nothing any more, None while all is well."""
        owner, now = self._owner, self.now()
        ended = owner.sessions.state(approval.session, owner.clock())
        if ended is not None:
            return f"the session is over ({ended})"
        if owner.directory.refuses(approval.user, approval.agent):
            return "its user or agent is disabled"
        for voice in approval.voices:
            user = self._active(voice.user, now)
            if user is None or not decide.may_decide(approval, user):
                return f"{voice.user}, who approved it, may not any more"
            if owner.passkeys.lacks(voice.user, voice.key):
                return f"the passkey of {voice.user} that signed it is removed"
        return None

    def approvers(self, approval: Approval) -> list[User]:
        """Return those who approved it and still are users."""
        found = (self._active(each.user, self.now()) for each in approval.voices)
        return [user for user in found if user is not None]

    def person(self, key: str) -> User:
        """Return a user who may use the relay; raises APPROVER_NEEDED."""
        user = self._active(key, self.now())
        if user is None:
            raise RelayError(Code.APPROVER_NEEDED, "only a user of this relay approves")
        return user

    def _active(self, key: str, now: float) -> User | None:
        locked = self._owner.locks.holds(LockKind.USER, key, now)
        return None if locked else self._owner.directory.active_user(key)
