"""The requests a relay knows, in memory: what is pending, ready, or was asked before. Pure.

What approvers look at is not here but in the store: it can be large.
"""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum

from tunnel_relay.approvals.decide import Needs, state_of
from tunnel_relay.ratelimit import RateLimit
from tunnel_relay.store.approvals import Approval, State

MAX_OF_SESSION = 20
"""Requests of one session that nobody has said yes to, denied ones too until their time is over."""
MAX_OF_USER = 60
MAX_PENDING = 5000
NEW_OF_SESSION = (1 / 15, 40)
"""New requests of a session per second, and how many at once: those replaced count too."""
NEW_OF_TUNNEL = (1 / 2, 400)
"""The same of all sessions with one tunnel: its client says when to ask."""
MAX_ARGUMENTS = 256 * 1024
"""Bytes of canonical arguments: what is larger nobody reads, and it cannot be approved."""


class Full(StrEnum):
    """Whose requests are too many."""

    SESSION = "session"
    USER = "user"
    RELAY = "relay"
    PACE = "pace"
    """They come too fast, however few are open."""


class Requests:
    """All approvals by identifier, and those of each session."""

    def __init__(self, approvals: Iterable[Approval] = ()) -> None:
        self._by_id: dict[str, Approval] = {}
        self._numbers: dict[str, int] = {}
        self.last = 0
        """The number of the newest; they count up, and a restart may give others."""
        self._of_session: dict[str, dict[str, Approval]] = {}
        self._by_relay: set[str] = set()
        self._relay_policy = ""
        self._session_pace = RateLimit(*NEW_OF_SESSION)
        self._tunnel_pace = RateLimit(*NEW_OF_TUNNEL)
        for approval in approvals:
            self.put(approval)

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Approval]:
        return iter(self._by_id.values())

    def put(self, approval: Approval, *, by_relay: bool = False) -> None:
        """Keep an approval, in place of what it was before; `by_relay`: the relay's rule asks."""
        if by_relay:
            self._by_relay.add(approval.id)
        if approval.id not in self._by_id:
            self.last += 1
            self._numbers[approval.id] = self.last
        self._by_id[approval.id] = approval
        waiting = self._of_session.get(approval.session, {})
        if approval.state in (State.PENDING, State.APPROVED, State.DENIED):
            self._of_session.setdefault(approval.session, waiting)[approval.id] = approval
        else:
            self._leave(approval)

    def hear(self, needs: Needs | None) -> None:
        """Note which policy is the relay's: after a restart its requests are known by that."""
        if needs is not None and needs.relay:
            self._relay_policy = needs.policy

    def of_relay(self, approval: Approval | Needs) -> bool:
        """Tell whether the relay's policy asks, and not a client's."""
        noted = approval.relay if isinstance(approval, Needs) else approval.id in self._by_relay
        return noted or approval.policy == self._relay_policy

    def get(self, approval: str) -> Approval | None:
        """Return one by its identifier."""
        return self._by_id.get(approval)

    def number(self, approval: str) -> int:
        """Return the number of one that is known: those that were asked later have higher ones."""
        return self._numbers[approval]

    def newest(self, below: int | None = None) -> Iterator[Approval]:
        """Go through all, newest first, or through those that were asked before a number."""
        for key, approval in reversed(self._by_id.items()):
            if below is None or self._numbers[key] < below:
                yield approval

    def starting(self, start: str) -> list[Approval]:
        """Return those whose identifiers start so."""
        return [each for key, each in self._by_id.items() if key.startswith(start)]

    def ready(self, session: str) -> bool:
        """Tell whether a session has something approved: the one question every call asks."""
        mine = self._of_session.get(session)
        return mine is not None and any(each.state is State.APPROVED for each in mine.values())

    def same(self, session: str, tool: str, arguments: str, now: float) -> list[Approval]:
        """Return what was asked for the same call and is neither used up nor over, newest first."""
        return [
            each
            for each in reversed(self._open(session, now))
            if each.tool == tool and each.arguments == arguments
        ]

    def full(
        self,
        session: str,
        user: str,
        now: float,
        ended: Callable[[Approval], bool] = lambda _: False,
    ) -> Full | None:
        """Return whose requests are too many for one more, None when there is room.

        Those that `ended` with their session do not count against their user.
        """
        if len(self._unanswered(self._open(session, now))) >= MAX_OF_SESSION:
            return Full.SESSION
        open_now = [each for key in list(self._of_session) for each in self._open(key, now)]
        unanswered = self._unanswered(open_now)
        if sum(each.user == user and not ended(each) for each in unanswered) >= MAX_OF_USER:
            return Full.USER
        return Full.RELAY if len(unanswered) >= MAX_PENDING else None

    def too_fast(self, session: str, tunnel: str, now: float) -> Full | None:
        """Count a new request; returns PACE when the session or the tunnel has made too many."""
        mine = self._session_pace.take(session, now)
        return Full.PACE if mine or self._tunnel_pace.take(tunnel, now) else None

    def pending(self, now: float) -> list[Approval]:
        """Return what waits for a human, by session."""
        return [
            each
            for key in list(self._of_session)
            for each in self._open(key, now)
            if each.state is State.PENDING
        ]

    def forget(self, before: float) -> None:
        """Forget those whose time was over before this."""
        for approval in [each for each in self if each.expires <= before]:
            self._leave(approval)
            del self._by_id[approval.id], self._numbers[approval.id]
            self._by_relay.discard(approval.id)

    def _open(self, session: str, now: float) -> list[Approval]:
        found = list(self._of_session.get(session, {}).values())
        for approval in found:
            if now >= approval.expires:
                self._leave(approval)
        return [each for each in found if state_of(each, now) is each.state and now < each.expires]

    def _leave(self, approval: Approval) -> None:
        mine = self._of_session.get(approval.session)
        if mine is not None:
            mine.pop(approval.id, None)
            if not mine:
                del self._of_session[approval.session]

    @staticmethod
    def _unanswered(approvals: list[Approval]) -> list[Approval]:
        return [each for each in approvals if each.state is not State.APPROVED]
