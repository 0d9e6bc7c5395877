"""Says in the log when time did not pass as it should: a sleep, a clock that was set, a stall.

What a deadline, a lease or a link did then is explained by that line and by nothing else.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import anyio
import structlog

log = structlog.get_logger("shared.clocks")

LOOK_SECONDS = 1.0
SET_SECONDS = 2.0
"""A clock that is set by less is what NTP does all day."""
STILL_SECONDS = 5.0
"""A program that is not run for less has a busy machine."""
_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Where there is one, the clock that goes on while the machine sleeps (clock_gettime(2))."""


class Clocks(NamedTuple):
    """What the clocks say at one moment, in seconds."""

    wall: float
    steady: float
    boot: float


def read() -> Clocks:
    """Return what the machine's clocks say."""
    return Clocks(time.time(), time.monotonic(), time.clock_gettime(_BOOT))


def oddities(before: Clocks, after: Clocks) -> list[tuple[str, float]]:
    """Return what happened to time between two looks, a second apart, and by how many seconds."""
    steady, boot = after.steady - before.steady, after.boot - before.boot
    slept, wall = boot - steady, after.wall - before.wall - boot
    found = []
    if slept >= SET_SECONDS:
        found.append(("the machine slept", slept))
    if steady - LOOK_SECONDS >= STILL_SECONDS:
        found.append(("this program stood still", steady - LOOK_SECONDS))
    if abs(wall) >= SET_SECONDS:
        found.append(
            ("the clock was set forward" if wall > 0 else "the clock was set back", abs(wall))
        )
    return found


async def watch(look: Callable[[], Clocks] = read, every: float = LOOK_SECONDS) -> None:
    """Write a line for each oddity, until cancelled."""
    before = look()
    while True:
        await anyio.sleep(every)
        after = look()
        for what, seconds in oddities(before, after):
            log.warning(what, seconds=round(seconds, 1))
        before = after
