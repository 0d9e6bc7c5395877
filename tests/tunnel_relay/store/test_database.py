"""A database that is slow, locked or gone: every wait for it is bounded, and so is their number."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import anyio
import pytest

from tunnel_relay.store import database
from tunnel_relay.store.base import StoreError
from tunnel_relay.store.sql import SqlStore


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.1)
    monkeypatch.setattr(database, "MAX_WAITING", 8)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        yield


async def tried(store: SqlStore) -> str:
    try:
        await store.ping()
    except StoreError as error:
        return str(error)
    return ""


async def test_d18_a_locked_database_piles_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 40 callers at once one is served, 8 wait within their deadline, the others go away."""
    monkeypatch.setattr(database, "QUEUE_TIMEOUT", 0.3)
    path = tmp_path / "relay.db"
    store = await SqlStore.open(path)
    try:
        with locked(path):
            with anyio.fail_after(10):
                said = await asyncio.gather(*(tried(store) for _ in range(40)))
            assert sum("too many" in one for one in said) == 31
            assert all(said)
            assert "locked" in said[0]
        assert await tried(store) == ""
    finally:
        await store.close()


async def test_waiting_callers_are_served_in_turn_once_it_is_free(tmp_path: Path) -> None:
    store = await SqlStore.open(tmp_path / "relay.db")
    try:
        with anyio.fail_after(10):
            assert await asyncio.gather(*(tried(store) for _ in range(8))) == [""] * 8
    finally:
        await store.close()


async def test_a_caller_that_gives_up_takes_no_place(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    store = await SqlStore.open(path)
    try:
        with locked(path):
            async with anyio.create_task_group() as tasks:
                for _ in range(8):
                    tasks.start_soon(tried, store)
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
        assert await asyncio.gather(*(tried(store) for _ in range(8))) == [""] * 8
    finally:
        await store.close()
