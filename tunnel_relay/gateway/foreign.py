"""Requests with a token of an external issuer: judged like ours, but for the first use.

A first use opens a session, which is stored, so that the request has to wait a moment.
"""

from collections.abc import Callable
from typing import Protocol

from tunnel_relay.gateway import answers, checks
from tunnel_relay.gateway.answers import Answer
from tunnel_relay.gateway.checks import Request
from tunnel_relay.gateway.responses import Response
from tunnel_relay.identity.bearers import Claims
from tunnel_relay.identity.issuers import Busy, Issuers
from tunnel_relay.store.base import Session


class Held:
    """Stands for a request that waits: for its client, or for its session."""

    gone = False

    def connection_resumed(self) -> None:
        """Nothing was written that could have been held back."""

    def connection_lost(self) -> None:
        """The agent did not wait."""
        self.gone = True


class Connection(Protocol):
    """What is needed of the agent's connection."""

    exchange: Response | None

    def respond(self, answer: Answer) -> None:
        """Send a whole answer."""


class ForeignTokens:
    """The door of external issuers; without any it is shut."""

    def __init__(self, issuers: Issuers | None) -> None:
        self._issuers = issuers or None

    def judge(
        self, authorization: bytes, place: str, request: Request, now: float
    ) -> tuple[Session | None, float] | Answer:
        """Return the session of a token that is none of ours and when the token ends.

        A good one without a session is noted in `request.opening`.
        """
        token = checks.read_bearer(authorization) if self._issuers is not None else None
        if token is None or self._issuers is None:
            return None, 0.0
        found = self._issuers.find(token, self._issuers.resource(place), now)
        if isinstance(found, Busy):
            return answers.BUSY
        if isinstance(found, Claims):
            request.opening = token, found
            return None, 0.0
        return found or (None, 0.0)

    async def open(
        self, serve: Callable[[], None], request: Request, connection: Connection, held: Held
    ) -> None:
        """Open the session of a good token, then `serve` the request that brought it."""
        opening, request.opening = request.opening, None
        if opening is None or self._issuers is None:
            return
        tunnel, _, upstream = request.path.decode()[3:-4].partition("/")
        session = await self._issuers.open(*opening, (tunnel, upstream))
        if held.gone:
            return
        connection.exchange = None
        if isinstance(session, Busy):
            connection.respond(answers.BUSY)
        elif session is None:
            # Not permitted, or no such server, or ended by an admin: the log knows which.
            connection.respond(answers.NOT_FOUND)
        else:
            request.session = session
            serve()
