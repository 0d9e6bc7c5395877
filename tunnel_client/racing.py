"""Several attempts at a connection beside each other: one that hangs is overtaken."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")

EXTRA_ATTEMPTS = (1.0, 3.0)
"""Seconds after the first: each knocks again after 1, 3 and 7 s, so together they leave no gap of
more than two seconds in the ten that they have."""


class _Race(Generic[T]):
    """What came out of it so far."""

    def __init__(self) -> None:
        self.won: T | None = None
        self.failed: Exception | None = None


async def first_of(
    attempt: Callable[[], Awaitable[T]], drop: Callable[[T], object], extra: Sequence[float]
) -> T:
    """Return what the first attempt to succeed makes; more begin `extra` seconds after one.

    The first that fails ends them all with its error. What comes second is given to `drop`.
    """
    race: _Race[T] = _Race()

    async def run(delay: float) -> None:
        try:
            await anyio.sleep(delay)
            made = await attempt()
        except Exception as error:  # noqa: BLE001 - raised again outside of the group
            race.failed = race.failed or error
        else:
            if race.won is None and race.failed is None:
                race.won = made
            else:
                drop(made)
        tasks.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as tasks:
            for delay in (0.0, *extra):
                tasks.start_soon(run, delay)
    except BaseException:
        if race.won is not None:
            drop(race.won)
        raise
    if race.won is None:
        assert race.failed is not None  # noqa: S101 - one of the two ended the group
        raise race.failed
    return race.won
