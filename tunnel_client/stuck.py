"""Whether a connection that is up carries nothing."""

import time

from shared.link.driver import LinkDriver
from shared.link.silence import asks_in

STUCK_SECONDS = 2.0
"""So long an answer may take before another connection is tried."""


def is_stuck(driver: LinkDriver, busy: bool) -> bool:
    """Tell whether a link owes us an answer for long; one that is quiet is asked if `busy`.

    That is when calls come by any link: those that were sent into this one may never have come.
    """
    if driver.lost or driver.detached or not busy:
        return False
    now = time.monotonic()
    keepalive = driver.keepalive
    owed = keepalive.owed_for(now)
    silent, asked = now - keepalive.last_heard, now - keepalive.asked_at
    if not owed and not asks_in(silent, asked, keepalive.interval):
        driver.ask()
    return owed >= STUCK_SECONDS
