"""One SQLite database in WAL mode, used in transactions.

Every wait for it is bounded: the queue in length and time, the lock of other processes in time.
"""

import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import anyio
from sqlalchemy import URL, Connection, event, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from tunnel_relay.store.base import ExistsError, StoreError
from tunnel_relay.store.schema import upgrade
from tunnel_relay.store.tables import PULSE

QUEUE_TIMEOUT = 5.0
"""Seconds a transaction waits for those before it."""
BUSY_TIMEOUT = 5.0
"""Seconds to wait for another process's write (a backup, a command) before giving up."""
OPENING_TRIES = 10
OPENING_PAUSE = 0.05
MAX_WAITING = 256
"""Transactions that wait at a time; a database that is slow must not pile up callers."""
CONNECTIONS = 1
"""Every transaction takes the write lock, and waiting in our queue is fair; SQLite's is not."""


class Database:
    """An open database; made by `open`, ended by `close`."""

    def __init__(self, engine: AsyncEngine, path: Path) -> None:
        self._engine = engine
        self._path = path
        self._file = _identity(path)
        self._turn = anyio.Lock()

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open or make the database file (mode 0600) and bring its tables up to date."""
        _own_file(path)
        engine = create_async_engine(
            URL.create("sqlite+aiosqlite", database=str(path)),
            pool_size=CONNECTIONS,
            max_overflow=0,
            # An error must not repeat digests and names.
            hide_parameters=True,
        )
        event.listen(engine.sync_engine, "connect", _on_connect)
        event.listen(engine.sync_engine, "begin", _on_begin)
        store = cls(engine, path)
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

    async def ping(self) -> None:
        """See `tunnel_relay.store.base.Store`."""
        await self.change(update(PULSE).values(beats=PULSE.c.beats + 1))

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
        """Hold the write lock; all of it is kept or nothing. Raises StoreError.

        A caller may give up while it waits for its turn; after that it hears the outcome.
        """
        await self._take_turn()
        try:
            # SQLite's thread cannot be called off: a connection left in the middle of something
            # is never closed, and would hold up the end of the program.
            with anyio.CancelScope(shield=True):
                async with self._begun() as connection:
                    yield connection
        finally:
            self._turn.release()

    async def _take_turn(self) -> None:
        if self._turn.statistics().tasks_waiting >= MAX_WAITING:
            raise StoreError("too many changes wait for the database")
        try:
            with anyio.fail_after(QUEUE_TIMEOUT):
                await self._turn.acquire()
        except TimeoutError:
            raise StoreError("the database takes too long with what was asked before") from None

    @asynccontextmanager
    async def _begun(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._engine.begin() as connection:
                # SQLite goes on writing into a file that was moved away: into nothing, for us.
                if _identity(self._path) != self._file:
                    raise StoreError(f"{self._path} was moved or replaced while it was in use")
                yield connection
        except IntegrityError as error:
            # SQLAlchemy's text repeats the statement; the driver's names only the constraint.
            kind = ExistsError if "UNIQUE" in str(error.orig) else StoreError
            raise kind(str(error.orig)) from None
        except (SQLAlchemyError, OSError) as error:
            cause = getattr(error, "orig", None) or error
            raise StoreError(f"{type(cause).__name__}: {cause}") from None


def _identity(path: Path) -> tuple[int, int] | None:
    """Return which file is at a path now, None when there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


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
