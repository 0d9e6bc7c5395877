"""The calls under way, by session: what is cut when one ends, and which may go on unattended."""

from shared.errors import ResetCode
from tunnel_relay.gateway.answers import Cause
from tunnel_relay.gateway.exchange import Exchange

MAX_RUNNING_ON = 64
"""Calls of one session that run on without their agents; the next is cancelled as it is left. An
agent that gives up and asks again would fill its upstream for everybody else."""


class Running:
    """All exchanges that are not over."""

    def __init__(self) -> None:
        self._live: dict[str, set[Exchange]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._live.values()))

    def add(self, session: str, exchange: Exchange) -> None:
        """Note a call that begins."""
        live = self._live.get(session)
        if live is None:
            live = self._live[session] = set()
        live.add(exchange)

    def discard(self, session: str, exchange: Exchange) -> bool:
        """Forget a call that is over; tells whether it was known."""
        live = self._live.get(session)
        if live is None or exchange not in live:
            return False
        live.discard(exchange)
        if not live:
            del self._live[session]
        return True

    def of(self, session: str) -> list[Exchange]:
        """Return the calls of a session."""
        return list(self._live.get(session, ()))

    def all(self) -> list[Exchange]:
        """Return every call."""
        return [exchange for live in self._live.values() for exchange in live]

    def cut(self, exchanges: list[Exchange], cause: Cause = ResetCode.REVOKED) -> int:
        """End calls at once, at both ends; returns how many."""
        for exchange in exchanges:
            exchange.cut(cause)
        return len(exchanges)

    def may_run_on(self, session: str) -> bool:
        """Tell whether one more call of a session may run on though its agent is gone."""
        live = self._live.get(session, ())
        return len(live) <= MAX_RUNNING_ON or sum(one.orphaned for one in live) < MAX_RUNNING_ON
