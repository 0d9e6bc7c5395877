"""When to ask the peer whether it is still there, and when to give it up."""

import struct
from collections import deque
from math import inf

_STAMP = struct.Struct(">Q")
ROUND_TRIPS = 8
"""Samples of the round trip that are looked at."""
EARLY_PINGS = 4
"""Pings right after the handshake, one after the other: the first sample holds the start's noise,
and would stand alone for a whole ping interval."""


class RoundTrips:
    """The last few samples of a link's round trip, in seconds."""

    __slots__ = ("_samples",)

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=ROUND_TRIPS)

    def least(self, sample: float) -> float:
        """Take a sample; return the least of the last few: the rest is time in queues."""
        self._samples.append(sample)
        return min(self._samples)

    @property
    def few(self) -> bool:
        """There are too few samples to believe the least."""
        return len(self._samples) < EARLY_PINGS


class Keepalive:
    """The timers of one link end, in seconds of a monotonic clock.

    Any message proves that the peer lives, so a busy link is asked just as often but never given
    up while bytes still come. A peer that answers nothing is gone after interval + deadline.
    """

    __slots__ = (
        *("_answer_due", "_counter", "_deadline", "_next_ask", "_owed_since"),
        "answered_at",
        "asked_at",
        "interval",
        "last_heard",
    )

    def __init__(self, interval: float, deadline: float, now: float) -> None:
        self.interval = interval
        self._deadline = deadline
        self._counter = 0
        self.last_heard = now
        self.asked_at = self._owed_since = now
        self.answered_at = -inf
        """When the last PING that has an answer was sent: all that is older came before it."""
        self._answer_due = inf
        self._next_ask = now + interval

    @property
    def next_deadline(self) -> float:
        """When `check` has something to do."""
        return min(self._next_ask, self._answer_due)

    def heard(self, now: float) -> None:
        """Note that a message came."""
        self.last_heard = now
        if self._answer_due != inf:
            self._answer_due = now + self._deadline

    def check(self, now: float) -> bytes | None:
        """Return the payload of a PING to send now, or None; see also `expired`."""
        return None if now < self._next_ask else self.ask(now)

    def ask(self, now: float) -> bytes:
        """Return the payload of a PING to send now, whether it is time for one or not."""
        self._next_ask = now + self.interval
        self._counter += 1
        self.asked_at = now
        if self._answer_due == inf:
            self._answer_due = now + self._deadline
            self._owed_since = now
        return _STAMP.pack(self._counter)

    def expired(self, now: float) -> bool:
        """Tell whether the peer owed us an answer for too long."""
        return now >= self._answer_due

    def why(self, now: float) -> str:
        """Return why the peer is given up; one that is heard and does not answer hears nothing."""
        asked, heard = now - self._owed_since, now - self.last_heard
        return f"the peer did not answer a ping for {asked:.0f} s, last heard {heard:.0f} s ago"

    def owed_for(self, now: float) -> float:
        """Return for how many seconds an answer is due with nothing heard since; 0: none is."""
        silent = self._answer_due != inf and self.last_heard <= self.asked_at
        return now - self.asked_at if silent else 0.0

    def answered(self, payload: bytes, now: float) -> float | None:
        """Take a PONG; return the round trip in seconds, None when it answers no open PING."""
        if payload != _STAMP.pack(self._counter) or self._answer_due == inf:
            return None
        self._answer_due = inf
        self.answered_at = self.asked_at
        return now - self.asked_at
