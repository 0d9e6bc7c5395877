"""What revoked sessions of issuers' tokens leave behind: in memory, so that it costs no wait. Pure.

Whoever holds a token of another issuer gets new ones without asking us. So it is not enough to end
a session: its bar keeps out tokens of the login it came from, until the user logs in again at the
issuer or an admin lifts it.
"""

from collections.abc import Iterable

from tunnel_relay.store.base import Bar

Subject = tuple[str, str, str, str]
"""User, agent, tunnel, upstream."""


class BarTable:
    """All bars by what they are on."""

    def __init__(self, bars: Iterable[Bar] = ()) -> None:
        self._by_subject: dict[Subject, Bar] = {}
        for bar in bars:
            self.put(bar)

    def put(self, bar: Bar) -> None:
        """Let a bar hold, in place of one on the same."""
        self._by_subject[bar.user, bar.agent, bar.tunnel, bar.upstream] = bar

    def drop(self, bar: Bar) -> None:
        """Lift a bar."""
        subject = bar.user, bar.agent, bar.tunnel, bar.upstream
        if self._by_subject.get(subject) == bar:
            del self._by_subject[subject]

    def drop_tunnel(self, tunnel: str) -> None:
        """Forget the bars of a tunnel that is no more."""
        for bar in self.all():
            if bar.tunnel == tunnel:
                self.drop(bar)

    def all(self) -> list[Bar]:
        """Return every bar, in the order they came."""
        return list(self._by_subject.values())

    def bars(self, subject: Subject, logged_in: float | None, leeway: float) -> bool:
        """Tell whether a token is kept out; `logged_in`: when its user did, None: not known."""
        if not self._by_subject:
            return False
        bar = self._by_subject.get(subject)
        return bar is not None and (logged_in is None or logged_in <= bar.since + leeway)
