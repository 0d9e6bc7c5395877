"""What one client was told of sessions on one link: signed once, before the first stream."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import structlog

from shared.errors import MisuseError, PeerError
from shared.grant import Grant, encode
from shared.keys import PrivateKey
from shared.policy.classes import ToolClass
from tunnel_relay.store.base import Session

if TYPE_CHECKING:
    from tunnel_relay.clients.link import Link

log = structlog.get_logger("tunnel_relay.grants")

MAX_TOLD = 100_000
"""Sessions remembered of one link; the oldest is told anew when it is needed."""
_STEP = 1e-6
"""Seconds between two grants of a link at least: a client takes no second one of an instant."""

GroupsOf = Callable[[str], tuple[str, ...]]
"""The groups of a user, by key; none of one that is not known."""


class _Told(NamedTuple):
    groups: tuple[str, ...]
    classes: tuple[str, ...]
    expires: float


class LinkGrants:
    """The grants of one link; what they say is compared at each call, so a change shows at once."""

    def __init__(
        self,
        link: "Link",
        key: PrivateKey,
        groups_of: GroupsOf,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._link = link
        self._key = key
        self._groups_of = groups_of
        self._clock = clock
        self._told: dict[str, _Told] = {}
        self._issued = 0.0

    def ensure(self, session: Session) -> None:
        """Send the session's grant unless the client has it as it is now.

        Raises MisuseError when none can be made: no stream may be opened then.
        """
        groups, told = self._groups_of(session.user), self._told.get(session.id)
        if (
            told is None
            or told.groups != groups
            or told.expires != session.expires
            or told.classes != session.classes
        ):
            self._send(session, _Told(groups, session.classes, session.expires))

    def forget(self, session: str) -> None:
        """The client does not have it, or shall not: it was revoked."""
        self._told.pop(session, None)

    def _send(self, session: Session, now: _Told) -> None:
        self._issued = max(self._clock(), self._issued + _STEP)
        link = self._link
        try:
            payload = encode(
                Grant(
                    session=session.id,
                    user=session.user,
                    agent=session.agent,
                    tunnel=session.tunnel,
                    upstream=session.upstream,
                    groups=now.groups,
                    classes=tuple(map(ToolClass, now.classes)),
                    issued=self._issued,
                    expires=now.expires,
                    instance=link.instance,
                    epoch=link.epoch,
                ),
                self._key,
            )
        except (PeerError, ValueError) as error:
            log.error("no_grant", session=session.id[:12], reason=str(error), **link.names())
            raise MisuseError("no grant can be made of the session") from error
        link.driver.grant(payload)
        self._told.pop(session.id, None)
        self._told[session.id] = now
        if len(self._told) > MAX_TOLD:
            del self._told[next(iter(self._told))]
