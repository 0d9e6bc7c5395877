"""What the commands need from the live links; the registry of links provides it."""

from collections.abc import Sequence
from typing import Any, Protocol

from shared.errors import CloseCode
from tunnel_relay.tools import Told

CUT_WAIT = 2.0
"""Seconds that clients get to say that they cut a session; the report names who did not."""
CLOSE_WAIT = 0.5
"""The same where their links are closed next: a silent one must not put that off."""


class Links(Protocol):
    """The links of this relay as an admin sees and ends them."""

    def links(self) -> list[dict[str, Any]]:
        """Describe every live link as JSON values.

        Keys read by the commands: `tunnel`, `instance`, `since`, `peer`, `round_trip_ms`,
        `streams`, `upstreams` (names). Others are passed on.
        """

    def tools(self) -> Sequence[Told]:
        """Return what every client says of the tools of each upstream that it offers."""

    async def cut_sessions(self, sessions: Sequence[str], wait: float = CUT_WAIT) -> dict[str, Any]:
        """End the streams of sessions; returns what was cut as JSON values.

        All is cut here and ordered from the clients at once; only their answers are waited for.
        Read by the commands: `streams` cut, `links` asked, `ms` it took, `clients` (each with
        `instance`, `ended` and `ms`, or the seconds in which its `lease` ends) and `silent`, the
        instances that did not answer.
        """

    def close_tunnel(self, tunnel: str, code: CloseCode, reason: str) -> int:
        """Close the links of a tunnel; returns how many."""

    def close_instance(self, instance: str, code: CloseCode, reason: str) -> int:
        """Close the links of one enrolled client; returns how many."""


class NoLinks:
    """The links of a relay that is not serving: none."""

    def links(self) -> list[dict[str, Any]]:
        return []

    def tools(self) -> Sequence[Told]:
        return []

    async def cut_sessions(self, sessions: Sequence[str], wait: float = CUT_WAIT) -> dict[str, Any]:
        return {"streams": 0, "links": 0, "ms": 0.0, "clients": [], "silent": []}

    def close_tunnel(self, tunnel: str, code: CloseCode, reason: str) -> int:
        return 0

    def close_instance(self, instance: str, code: CloseCode, reason: str) -> int:
        return 0
