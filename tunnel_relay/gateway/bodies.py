"""How much of the relay's memory request bodies may hold: of a session, of a user, of all.

A body is counted while it comes in pieces, while its call waits for a client, and until a link
took most of it; that of a tool call above 16 KiB until its answer begins, because an approval may
be asked for it. Any other that comes whole and goes at once is never counted.
"""

from shared.wire.outbox import PAUSE_BYTES
from tunnel_relay.gateway import answers
from tunnel_relay.gateway.answers import Answer
from tunnel_relay.gateway.checks import Request
from tunnel_relay.gateway.patience import BODIES_BYTES, SMALL_BYTES
from tunnel_relay.ratelimit import address_key

LINGERING_BYTES = PAUSE_BYTES
"""A link says of bodies above this when it took them; smaller ones are gone soon."""


class Bodies:
    """The count; 0 as a share is no bound."""

    def __init__(self, session: int, user: int) -> None:
        self._session = session
        self._user = user
        self.total = 0
        self.sessions: dict[str, int] = {}
        self.users: dict[str, int] = {}

    def pay(
        self, request: Request, size: int, message_id: str | int | None = None
    ) -> Answer | None:
        """Count a request's body as so many bytes in all; an Answer when that is too much.

        A refusal counts nothing; what was counted before stays until `free`.
        """
        if size > SMALL_BYTES and self.total > BODIES_BYTES:
            return answers.BUSY
        session, user = request.payer or _payer(request)
        more = size - request.paid
        mine, theirs = self.sessions.get(session, 0) + more, self.users.get(user, 0) + more
        if 0 < self._session < mine or 0 < self._user < theirs:
            return answers.too_many("bytes of requests at a time", 1, message_id)
        request.payer, request.paid = (session, user), size
        self.total += more
        self.users[user] = theirs
        if session:
            self.sessions[session] = mine
        return None

    def free(self, request: Request | None) -> None:
        """Count a request's body no longer."""
        if request is None or request.payer is None:
            return
        (session, user), paid = request.payer, request.paid
        request.payer, request.paid = None, 0
        self.total -= paid
        _less(self.users, user, paid)
        if session:
            _less(self.sessions, session, paid)


def _payer(request: Request) -> tuple[str, str]:
    opening = request.opening
    if opening is not None:
        # Nobody has vouched for it yet: it counts for where it comes from.
        return "", f"@{address_key(opening.address)}"
    return request.session.id, request.session.user


def _less(counts: dict[str, int], key: str, count: int) -> None:
    left = counts[key] - count
    if left:
        counts[key] = left
    else:
        del counts[key]
