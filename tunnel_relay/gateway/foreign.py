"""Requests with a token of an external issuer: judged like ours, but for the first use.

A first use opens a session, which is stored, so that the request has to wait a moment. What waits
is bounded, apart from the calls that wait for their client.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio.abc
import structlog

from tunnel_relay.gateway import answers, checks
from tunnel_relay.gateway.answers import Answer
from tunnel_relay.gateway.bodies import Bodies
from tunnel_relay.gateway.checks import Request
from tunnel_relay.identity.issuers import Accepted, Issuers, No, Waits
from tunnel_relay.quotas import Waiting
from tunnel_relay.ratelimit import address_key

if TYPE_CHECKING:
    from tunnel_relay.gateway.connection import AgentConnection

    Serve = Callable[[Request, AgentConnection], None]

log = structlog.get_logger("tunnel_relay.gateway")

MAX_WAITING = 256
MAX_WAITING_OF_ADDRESS = 32
"""Nobody has vouched for them yet, and keys may take seconds to come."""


class Held:
    """Stands for a request that waits: for its client, or for its session."""

    gone = False

    def connection_resumed(self) -> None:
        """Nothing was written that could have been held back."""

    def connection_lost(self) -> None:
        """The agent did not wait."""
        self.gone = True


class ForeignTokens:
    """The door of external issuers; without any it is shut. `refuse` answers for an outcome."""

    def __init__(
        self,
        issuers: Issuers | None,
        refuse: Callable[[Request, No], Answer],
        tick: Callable[[], float],
        bodies: Bodies,
    ) -> None:
        self._bodies = bodies
        self._issuers = issuers or None
        self._refuse = refuse
        self._tick = tick
        self._waiting = Waiting(MAX_WAITING, MAX_WAITING_OF_ADDRESS)

    def judge(self, authorization: bytes, place: str, request: Request) -> Accepted | Answer | None:
        """Return the verdict on a token that is none of ours.

        None for a good one that still has to wait, which is noted in `request.opening`.
        """
        token = checks.read_bearer(authorization)
        if token is None or self._issuers is None:
            return self._refuse(request, No.TOKEN)
        found = self._issuers.judge(token, place, request.peer, self._tick())
        if isinstance(found, Waits):
            request.opening = found
            return None
        return self._refuse(request, found) if isinstance(found, No) else found

    def open(
        self,
        request: Request,
        connection: "AgentConnection",
        tasks: anyio.abc.TaskGroup | None,
        serve: "Serve",
    ) -> None:
        """Let a request wait for its session, then `serve` it."""
        refused = self._bodies.pay(request, len(request.body))
        if refused is not None:
            connection.respond(refused, request)
            return
        opening, request.opening = request.opening, None
        if opening is None or tasks is None or not self._waiting.begin(address_key(request.peer)):
            self._bodies.free(request)
            connection.respond(self._refuse(request, No.LATER), request)
            return
        held = Held()
        connection.exchange = held
        tasks.start_soon(self._settle, opening, request, connection, held, serve)

    async def _settle(
        self,
        opening: Waits,
        request: Request,
        connection: "AgentConnection",
        held: Held,
        serve: "Serve",
    ) -> None:
        verdict: Accepted | No = No.LATER
        try:
            if self._issuers is not None:
                verdict = await self._issuers.settle(opening, self._tick)
        finally:
            self._waiting.end(address_key(request.peer))
        if held.gone:
            self._bodies.free(request)
            return
        connection.exchange = None
        if isinstance(verdict, No) or verdict.session is None:
            outcome = verdict if isinstance(verdict, No) else No.TOKEN
            self._bodies.free(request)
            connection.respond(self._refuse(request, outcome), request)
        else:
            request.session = verdict.session
            try:
                serve(request, connection)
            except Exception:  # a fault in one call's way ends that call and nobody else's
                log.exception("a call that waited could not be carried")
                self._bodies.free(request)
                connection.break_off()


def holds(known: checks.Known) -> bool:
    """Tell whether the verdict on a head may still be used as it is.

    That on an issuer's token is made anew when its key vanished or its session ended: the same
    token may open another one.
    """
    return known.accepted is None or known.accepted.good


def outcome(no: No) -> Answer | None:
    """Return the answer that does not depend on the request; None for those that do."""
    return _ANSWERS.get(no)


_ANSWERS = {
    No.SERVER: answers.NOT_FOUND,
    No.LATER: answers.LATER,
    No.SESSIONS: answers.too_many("sessions", 60.0),
}
