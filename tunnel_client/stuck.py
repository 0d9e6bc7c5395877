"""Whether a connection that is up carries nothing."""

import time

from shared.link.driver import LinkDriver

QUIET_SECONDS = 3.0
"""A peer that calls run at and that says nothing for so long is asked whether it is there."""
MOST_EARLY = 4
"""PINGs before their time in one interval: a peer that gets more than ten gives the link up."""
STUCK_SECONDS = 2.0
"""So long an answer may take before another connection is tried."""


def is_stuck(driver: LinkDriver) -> bool:
    """Tell whether a link with calls on it owes us an answer for long; asks when it is quiet."""
    if driver.lost or driver.detached or not driver.open_streams:
        return False
    now = time.monotonic()
    owed = driver.keepalive.owed_for(now)
    quiet = max(QUIET_SECONDS, driver.keepalive.interval / MOST_EARLY)
    if not owed and now - driver.keepalive.last_heard >= quiet:
        driver.ask()
    return owed >= STUCK_SECONDS
