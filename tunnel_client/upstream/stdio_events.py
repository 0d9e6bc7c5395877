"""Events of one legacy MCP session, kept for a while so that a broken stream can be resumed.

An id names the lane (one for each request, 0 for the GET) and counts within the MCP session, so an
agent that resumes gets the messages of that lane alone (2025-11-25, transports, "Resumability").
"""

import re
from collections import deque

from shared.wire.limits import MIB

GET_LANE = 0
RETRY_MS = 1000
"""How long an agent is asked to wait before it comes back."""

_MAX_EVENTS = 1000
_MAX_BYTES = MIB
_ID = re.compile(r"([0-9]{1,15})-([0-9]{1,15})")


class EventLog:
    """Numbers the events of all lanes and keeps the newest: 1,000 of them and 1 MiB."""

    def __init__(self) -> None:
        self._kept: deque[tuple[int, int, bytes]] = deque()
        self._bytes = 0
        self._count = 0
        self._lanes = GET_LANE

    def new_lane(self) -> int:
        """Return the lane of a new request."""
        self._lanes += 1
        return self._lanes

    def prime(self, lane: int) -> bytes:
        """Return the empty event that gives an agent an id to come back with."""
        return b"id: %d-%d\nretry: %d\ndata: \n\n" % (lane, self._count, RETRY_MS)

    def add(self, lane: int, line: bytes) -> bytes:
        """Keep one message and return its event."""
        self._count += 1
        # A single message beyond the bound would push out all others and go itself.
        if len(line) <= _MAX_BYTES:
            self._kept.append((self._count, lane, line))
            self._bytes += len(line)
        while self._bytes > _MAX_BYTES or len(self._kept) > _MAX_EVENTS:
            self._bytes -= len(self._kept.popleft()[2])
        return _event(lane, self._count, line)

    def after(self, last: str) -> tuple[int, list[bytes]] | None:
        """Return the lane an id belongs to and its later events; None for an id not of ours."""
        match = _ID.fullmatch(last)
        if match is None:
            return None
        lane, number = int(match[1]), int(match[2])
        if lane > self._lanes:
            return None
        return lane, [
            _event(lane, each, line)
            for each, its_lane, line in self._kept
            if its_lane == lane and each > number
        ]


def _event(lane: int, number: int, line: bytes) -> bytes:
    return b"id: %d-%d\nevent: message\ndata: %b\n\n" % (lane, number, line)
