"""What the commands need from the live links; the registry of links provides it."""

from collections.abc import Sequence
from typing import Any, Protocol

from shared.errors import CloseCode


class Links(Protocol):
    """The links of this relay as an admin sees and ends them."""

    def links(self) -> list[dict[str, Any]]:
        """Describe every live link as JSON values.

        Keys read by the commands: `tunnel`, `instance`, `since`, `peer`, `round_trip_ms`,
        `streams`, `upstreams` (names). Others are passed on.
        """

    async def cut_sessions(self, sessions: Sequence[str]) -> dict[str, Any]:
        """End the streams of sessions; returns what was cut as JSON values.

        All is cut here and ordered from the clients at once; only their answers are waited for.
        Read by the commands: `streams` cut, `links` asked, `ms` it took, and `silent`, the
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

    async def cut_sessions(self, sessions: Sequence[str]) -> dict[str, Any]:
        return {"streams": 0, "links": 0, "ms": 0.0}

    def close_tunnel(self, tunnel: str, code: CloseCode, reason: str) -> int:
        return 0

    def close_instance(self, instance: str, code: CloseCode, reason: str) -> int:
        return 0
