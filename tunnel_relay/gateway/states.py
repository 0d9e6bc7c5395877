"""Which `requestState` a session was handed, and for what: each is good once, for an hour. Pure.

In memory only: after a restart of the relay the agent begins its call anew.
"""

import hashlib
from collections import OrderedDict

STATE_SECONDS = 3600.0
MAX_OF_SESSION = 256
"""States remembered of a session; the oldest is forgotten first."""

For = tuple[str, str | None]
"""Method, and what it acted on."""


def state_digest(state: str) -> bytes:
    """Return by what a state is remembered: some are long."""
    return hashlib.sha256(state.encode(errors="surrogatepass")).digest()


class States:
    """All states by session; times are monotonic."""

    def __init__(self, most: int = MAX_OF_SESSION) -> None:
        self._most = most
        # The session that was handed one last is last, so the first is over before all others.
        self._sessions: OrderedDict[str, OrderedDict[bytes, tuple[For, float]]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._sessions.values()))

    def hand(self, session: str, what: For, state: str, now: float) -> None:
        """Remember a state that goes out to a session."""
        held = self._sessions.setdefault(session, OrderedDict())
        self._sessions.move_to_end(session)
        digest = state_digest(state)
        held.pop(digest, None)
        held[digest] = what, now + STATE_SECONDS
        if len(held) > self._most:
            held.popitem(last=False)

    def take(self, session: str, what: For, state: str, now: float) -> float | None:
        """Use a state up; returns when it would have ended, None when it is not good.

        One that is brought for something else is used up too.
        """
        held = self._sessions.get(session)
        found = None if held is None else held.pop(state_digest(state), None)
        if found is None or found[0] != what or found[1] <= now:
            return None
        return found[1]

    def give_back(self, session: str, what: For, state: str, ends: float) -> None:
        """Let a state be used again: the call that carried it was never sent."""
        held = self._sessions.get(session)
        if held is not None and len(held) < self._most:
            held[state_digest(state)] = what, ends
            held.move_to_end(state_digest(state), last=False)

    def forget(self, now: float) -> None:
        """Let go of sessions that were handed nothing for so long that all of it is over."""
        while self._sessions:
            session, held = next(iter(self._sessions.items()))
            if held and next(reversed(held.values()))[1] > now:
                return
            del self._sessions[session]
