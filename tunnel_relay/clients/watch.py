"""Looks at a link while calls run on it: whether its client is still there, and what if not.

The client looks too, but only the relay knows of calls that never arrived.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from shared.link.silence import QUIET_SECONDS, asks_in, is_doubted

if TYPE_CHECKING:
    from tunnel_relay.clients.link import Link

LEFT_SECONDS = 5.0
"""So long an answer may take where another link of the client is heard. The client, which tries
another connection first, has done so by then if it heard of the calls."""
LOOK_SECONDS = 0.25
"""How soon a link is looked at again whose client owes an answer."""


def is_left(owed: float, *, resumable: bool, others_heard: bool) -> bool:
    """Tell whether to leave a connection whose client has owed an answer for so many seconds.

    `others_heard`: another link of that client was heard since. Who is silent on all is waited for.
    """
    return owed >= LEFT_SECONDS and resumable and others_heard


class Watch:
    """Looks at one link, by a timer that is there only while calls run on it.

    `beside` returns the other links of its client.
    """

    __slots__ = ("_beside", "_link", "doubted", "on")

    def __init__(self, link: "Link", beside: Callable[["Link"], Iterable["Link"]]) -> None:
        self._link, self._beside = link, beside
        self.on = False
        """Somebody looks already: whoever opens a stream need not `begin`."""
        self.doubted = False
        """The client was asked and owes an answer: calls had better take another link."""

    def begin(self) -> None:
        """Look from now on: a call is about to be sent, or goes on over another connection."""
        self.on = True
        asyncio.get_running_loop().call_later(QUIET_SECONDS, self.look)

    def ask_if_quiet(self) -> float:
        """Ask the client if nothing was heard lately; returns in how many seconds to look again."""
        driver, now = self._link.driver, time.monotonic()
        keepalive = driver.keepalive
        if keepalive.owed_for(now):
            return LOOK_SECONDS
        silent, asked = now - keepalive.last_heard, now - keepalive.asked_at
        seconds = asks_in(silent, asked, keepalive.interval)
        if not seconds:
            driver.ask()
        return max(seconds, LOOK_SECONDS)

    def look(self) -> None:
        """Look now, and again as long as there is anything to look at."""
        driver = self._link.driver
        owed = driver.keepalive.owed_for(time.monotonic())
        self.on = not (driver.lost or driver.detached) and (driver.open_streams > 0 or owed > 0)
        self.doubted = self.on and is_doubted(owed, driver.round_trip)
        if self.on and not (self.doubted and self._left(owed)):
            asyncio.get_running_loop().call_later(self.ask_if_quiet(), self.look)

    def _left(self, owed: float) -> bool:
        """Leave the connection if that is time; the others are asked, so that one knows."""
        driver, asked, heard = self._link.driver, time.monotonic() - owed, False
        for each in self._beside(self._link):
            if not each.driver.detached:
                each.watch.ask_if_quiet()
                heard = heard or each.driver.keepalive.last_heard > asked
        if not is_left(owed, resumable=driver.resumable, others_heard=heard):
            return False
        self.on = self.doubted = False
        driver.give_up(f"silent for {owed:.0f} s after a ping, and heard on another link")
        return True
