"""One SQLite database in WAL mode, used in transactions."""

import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import anyio
from alembic.util.exc import CommandError
from sqlalchemy import URL, Connection, event
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from tunnel_relay.store.base import ExistsError, StoreError
from tunnel_relay.store.schema import upgrade

QUEUE_TIMEOUT = 10.0
"""Seconds a transaction waits for those before it: as long as a handshake may take."""
BUSY_TIMEOUT = 5.0
"""Seconds to wait for another process's write (a backup, a command) before giving up."""
OPENING_TRIES = 10
OPENING_PAUSE = 0.05
CONNECTIONS = 1
"""Every transaction takes the write lock, and waiting in our queue is fair; SQLite's is not."""


class Database:
    """An open database; made by `open`, ended by `close`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open or make the database file (mode 0600) and bring its tables up to date."""
        _own_file(path)
        engine = create_async_engine(
            URL.create("sqlite+aiosqlite", database=str(path)),
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=QUEUE_TIMEOUT,
            # An error must not repeat digests and names.
            hide_parameters=True,
        )
        event.listen(engine.sync_engine, "connect", _on_connect)
        event.listen(engine.sync_engine, "begin", _on_begin)
        store = cls(engine)
        try:
            for left in reversed(range(OPENING_TRIES)):
                try:
                    async with store.transaction() as connection:
                        await connection.run_sync(upgrade)
                    break
                except StoreError as error:
                    # Two that change to WAL at once: SQLite refuses one without waiting, lest both
                    # wait for each other.
                    if not left or "locked" not in str(error):
                        raise
                    await anyio.sleep(OPENING_PAUSE)
        except BaseException:
            await engine.dispose()
            raise
        return store

    async def close(self) -> None:
        """Let go of the database."""
        await self._engine.dispose()

    async def rows(self, query: Any) -> list[dict[str, Any]]:
        """Return what a query finds."""
        async with self.transaction() as connection:
            return [dict(row) for row in (await connection.execute(query)).mappings()]

    async def change(self, statement: Any) -> int:
        """Return how many rows a statement changed."""
        async with self.transaction() as connection:
            return int((await connection.execute(statement)).rowcount)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Hold the write lock; all of it is kept or nothing. Raises StoreError."""
        try:
            async with self._engine.begin() as connection:
                yield connection
        except IntegrityError as error:
            # SQLAlchemy's text repeats the statement; the driver's names only the constraint.
            kind = ExistsError if "UNIQUE" in str(error.orig) else StoreError
            raise kind(str(error.orig)) from None
        except (SQLAlchemyError, CommandError, OSError) as error:
            cause = getattr(error, "orig", None) or error
            raise StoreError(f"{type(cause).__name__}: {cause}") from None


def _own_file(path: Path) -> None:
    """Make the file with mode 0600 before SQLite would make it with the umask's; SQLite gives
    its -wal and -shm files the same mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise StoreError(f"cannot open {path}: {error.strerror}") from error
    if mode & 0o077:
        raise StoreError(f"{path} can be read by others (mode {mode:04o}); chmod 600 it")


def _on_connect(connection: Any, _: object) -> None:
    # None: the driver leaves transactions to us; its own would not cover DDL or reads.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        # First: also the change to WAL may have to wait for another process.
        f"busy_timeout = {int(BUSY_TIMEOUT * 1000)}",
        "journal_mode = WAL",
        # A revocation that was acknowledged survives a power cut.
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _on_begin(connection: Connection) -> None:
    # Taking the write lock first cannot fail half way, as a read that later writes can.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
