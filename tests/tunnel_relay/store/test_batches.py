"""What waits for the database is answered together, on a real one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.tunnel_relay.store.test_sql import opened
from tunnel_relay.store.base import StoreError
from tunnel_relay.store.batches import Batch
from tunnel_relay.store.sql import SqlStore

MANY = 50


class Counted:
    """Transactions of a store, counted; `broken`: the next ones end without being kept."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.begun = 0
        self.broken = False

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        self.begun += 1
        async with self.store.transaction() as connection:
            yield connection
            if self.broken:
                raise StoreError("disk full")


async def doubled(connection: AsyncConnection, number: int) -> int:
    if number < 0:
        raise ValueError("a fault of ours")
    found = await connection.execute(text("select 2 * :n"), {"n": number})
    return int(found.scalar_one())


async def test_many_are_answered_in_few_transactions(tmp_path: Path) -> None:
    async with opened(tmp_path / "relay.db") as store:
        counted = Counted(store)
        batch = Batch(counted.begin, doubled)
        found = await asyncio.gather(*map(batch.ask, range(MANY)))
        assert found == [2 * number for number in range(MANY)]
        assert counted.begun <= 2


async def test_what_was_not_kept_is_told_to_all_and_the_next_are_served(tmp_path: Path) -> None:
    async with opened(tmp_path / "relay.db") as store:
        counted = Counted(store)
        batch = Batch(counted.begin, doubled)
        counted.broken = True
        told = await asyncio.gather(*map(batch.ask, range(MANY)), return_exceptions=True)
        assert {(type(each), str(each)) for each in told} == {(StoreError, "disk full")}
        assert counted.begun <= 2, "each would have waited for the same"
        counted.broken = False
        assert await batch.ask(4) == 8


async def test_a_question_that_breaks_leaves_nobody_waiting(tmp_path: Path) -> None:
    async with opened(tmp_path / "relay.db") as store:
        batch = Batch(store.transaction, doubled)
        told = await asyncio.gather(*map(batch.ask, (1, -1, 2)), return_exceptions=True)
        assert isinstance(told[0], ValueError)
        assert {type(each) for each in told[1:]} == {StoreError}
        assert await batch.ask(4) == 8


async def test_who_gives_up_takes_nobody_along(tmp_path: Path) -> None:
    async with opened(tmp_path / "relay.db") as store:
        batch = Batch(store.transaction, doubled)
        async with store.transaction():
            impatient = asyncio.ensure_future(batch.ask(1))
            patient = asyncio.ensure_future(batch.ask(2))
            await asyncio.sleep(0)
            impatient.cancel()
            with pytest.raises(asyncio.CancelledError):
                await impatient
        assert await patient == 4
