"""Questions to the database that come while it is busy, answered together in one transaction.

A thousand clients that come back at once would else wait for a thousand writes to the disk.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

import anyio
from sqlalchemy.ext.asyncio import AsyncConnection

from tunnel_relay.store.base import StoreError

Q = TypeVar("Q")
A = TypeVar("A")


class _Asked(Generic[Q, A]):
    """A question, and what became of it once its transaction was over."""

    def __init__(self, question: Q) -> None:
        self.question = question
        self.answers: list[A] = []
        self.failed: StoreError | None = None


class Batch(Generic[Q, A]):
    """Asks for one kind of thing; who waits longest asks for all that wait."""

    def __init__(
        self,
        begin: Callable[[], AbstractAsyncContextManager[AsyncConnection]],
        judge: Callable[[AsyncConnection, Q], Awaitable[A]],
    ) -> None:
        self._begin = begin
        self._judge = judge
        self._turn = anyio.Lock()
        self._waiting: list[_Asked[Q, A]] = []

    async def ask(self, question: Q) -> A:
        """Return the answer, when it is kept; raises StoreError."""
        mine: _Asked[Q, A] = _Asked(question)
        self._waiting.append(mine)
        try:
            async with self._turn:
                if not mine.answers and mine.failed is None:
                    await self._answer_all()
        finally:
            if mine in self._waiting:
                self._waiting.remove(mine)
        if mine.failed is not None:
            raise mine.failed
        return mine.answers[0]

    async def _answer_all(self) -> None:
        batch: list[_Asked[Q, A]] = []
        answers: list[A] = []
        try:
            async with self._begin() as connection:
                batch, self._waiting = self._waiting, []
                answers = [await self._judge(connection, each.question) for each in batch]
        except StoreError as error:
            # Of all who wait: each would wait as long again, and for the same.
            for each in batch or self._waiting:
                each.failed = StoreError(str(error))
            return
        except BaseException:
            for each in batch:  # none of it was kept
                each.failed = StoreError("the transaction was not finished")
            raise
        for each, answer in zip(batch, answers, strict=True):
            each.answers.append(answer)
