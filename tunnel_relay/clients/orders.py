"""Orders to cut sessions, and what became of them at each client."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from tunnel_relay.clients.link import Link


BESIDE_SECONDS = 0.25
"""For a client's other links once it said on one that all of them did it: one may be stuck."""


class Revoking:
    """Orders that were given; `away` reports the clients that could not be told."""

    def __init__(
        self, orders: "dict[Link, Orders]", away: list[dict[str, Any]], lease: float
    ) -> None:
        self._orders = orders
        self._away = away
        self._lease = lease

    async def answers(self, wait: float) -> list[dict[str, Any]]:
        """Wait for the clients' words, `wait` seconds at most; returns one report a client.

        It says how many exchanges the client ended on how many links and after how many ms, or in
        how many seconds its `lease` ends, if it is silent or lost its links so lately that it may
        still be serving. A client ends a session on all its links when it hears of it on one.
        """
        clients: dict[str, list[Orders]] = {}
        for link, asked in self._orders.items():
            clients.setdefault(link.instance, []).append(asked)
        with anyio.move_on_after(wait) as scope:
            for each in clients.values():
                await _one_of(each)
            scope.deadline = min(scope.deadline, anyio.current_time() + BESIDE_SECONDS)
            for asked in self._orders.values():
                await asked.answered()
        for link, asked in self._orders.items():  # who stays silent is not waited for any more
            link.orders = {order: told for order, told in link.orders.items() if told != asked.told}
        reports = [_report(instance, asked, self._lease) for instance, asked in clients.items()]
        return reports + self._away


class Orders:
    """What a client was told on one link to cut, and what it said."""

    def __init__(self, started: float) -> None:
        self._started = started
        self._waiting = 0
        self._ended = 0
        self._last: float | None = None
        self._refused = False
        self._done = anyio.Event()

    def asked(self) -> Callable[[int | None], None]:
        """Count one order; returns what takes its answer."""
        self._waiting += 1
        return self.told

    def told(self, ended: int | None) -> None:
        """Take an answer: how many exchanges ended, None when the link was lost instead."""
        self._waiting -= 1
        if ended is None:
            self._refused = True
        else:
            self._ended += ended
            self._last = asyncio.get_running_loop().time()
        if self._waiting <= 0:
            self._done.set()

    async def answered(self) -> None:
        """Wait until every order was answered."""
        if self._waiting > 0:
            await self._done.wait()

    @property
    def answer(self) -> tuple[int, float] | None:
        """How many exchanges ended, and after how many ms; None while there is no whole answer."""
        if self._waiting > 0 or self._refused or self._last is None:
            return None
        return self._ended, round((self._last - self._started) * 1000, 2)


async def _one_of(asked: list[Orders]) -> None:
    """Wait until a client answered every order on one link, or will on none."""

    async def one(orders: Orders) -> None:
        await orders.answered()
        if orders.answer is not None:
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for each in asked:
            tasks.start_soon(one, each)


def _report(instance: str, asked: list[Orders], lease: float) -> dict[str, Any]:
    """Return what became of a client's orders as JSON values."""
    answers = [answer for each in asked if (answer := each.answer) is not None]
    return {
        "instance": instance,
        "connected": True,
        "links": len(asked),
        "ended": sum(ended for ended, _ in answers) if answers else None,
        "ms": max(ms for _, ms in answers) if answers else None,
        "lease": None if answers else lease,
    }
