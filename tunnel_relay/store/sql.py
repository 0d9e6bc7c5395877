"""The store on SQL: SQLAlchemy Core over SQLite in WAL mode."""

import os
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from alembic.util.exc import CommandError
from sqlalchemy import URL, Connection, bindparam, event
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.sql import delete, insert, or_, select, update

from tunnel_relay.store.base import (
    ExistsError,
    Instance,
    JoinCode,
    Joining,
    Lock,
    LockKind,
    Session,
    StoreError,
    Tunnel,
    Verdict,
)
from tunnel_relay.store.schema import upgrade
from tunnel_relay.store.tables import INSTANCES, JOIN_CODES, LOCKS, SESSIONS, TUNNELS

QUEUE_TIMEOUT = 10.0
"""Seconds a transaction waits for those before it: as long as a handshake may take."""
BUSY_TIMEOUT = 5.0
"""Seconds to wait for another process's write (a backup, a command) before giving up."""
CONNECTIONS = 1
"""Every transaction takes the write lock, and waiting in our queue is fair; SQLite's is not."""
CLONED = "cloned: its counter went backwards, so two machines hold this key"


class SqlStore:
    """Implements `tunnel_relay.store.base.Store`; made by `open`, ended by `close`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @classmethod
    async def open(cls, path: Path) -> "SqlStore":
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
            async with store._transaction() as connection:
                await connection.run_sync(upgrade)
        except BaseException:
            await engine.dispose()
            raise
        return store

    async def close(self) -> None:
        await self._engine.dispose()

    async def add_tunnel(self, tunnel: Tunnel, code: JoinCode) -> None:
        async with self._transaction() as connection:
            await connection.execute(insert(TUNNELS).values(asdict(tunnel)))
            await connection.execute(insert(JOIN_CODES).values(asdict(code)))

    async def tunnel(self, name: str) -> Tunnel | None:
        found = await self._rows(select(TUNNELS).where(TUNNELS.c.name == name))
        return Tunnel(**found[0]) if found else None

    async def tunnels(self) -> list[Tunnel]:
        return [Tunnel(**row) for row in await self._rows(select(TUNNELS).order_by(TUNNELS.c.name))]

    async def set_disabled(self, name: str, disabled: bool) -> bool:
        change = update(TUNNELS).where(TUNNELS.c.name == name).values(disabled=disabled)
        return await self._change(change) == 1

    async def delete_tunnel(self, name: str) -> bool:
        return await self._change(delete(TUNNELS).where(TUNNELS.c.name == name)) == 1

    async def replace_join_code(self, code: JoinCode, drop_instances: bool) -> None:
        unused = JOIN_CODES.c.tunnel == code.tunnel, JOIN_CODES.c.used.is_(None)
        async with self._transaction() as connection:
            await connection.execute(delete(JOIN_CODES).where(*unused))
            await connection.execute(insert(JOIN_CODES).values(asdict(code)))
            if drop_instances:
                gone = delete(INSTANCES).where(INSTANCES.c.tunnel == code.tunnel)
                await connection.execute(gone)

    async def join(self, digest: bytes, now: float, instance: Instance) -> tuple[Joining, str]:
        enabled = select(TUNNELS.c.name).where(TUNNELS.c.disabled.is_(False))
        take = (
            update(JOIN_CODES)
            .where(
                JOIN_CODES.c.digest == digest,
                JOIN_CODES.c.used.is_(None),
                JOIN_CODES.c.expires > now,
                JOIN_CODES.c.tunnel.in_(enabled),
            )
            .values(used=now)
            .returning(JOIN_CODES.c.tunnel)
        )
        async with self._transaction() as connection:
            tunnel = (await connection.execute(take)).scalar_one_or_none()
            if tunnel is None:
                return await _why_not_joined(connection, digest, now), ""
            row = asdict(replace(instance, tunnel=tunnel))
            await connection.execute(insert(INSTANCES).values(row))
            return Joining.JOINED, tunnel

    async def instance(self, tunnel: str, instance: str) -> Instance | None:
        where = INSTANCES.c.tunnel == tunnel, INSTANCES.c.id == instance
        found = await self._rows(select(INSTANCES).where(*where))
        return Instance(**found[0]) if found else None

    async def instances(self, tunnel: str | None = None) -> list[Instance]:
        query = select(INSTANCES).order_by(INSTANCES.c.created)
        if tunnel is not None:
            query = query.where(INSTANCES.c.tunnel == tunnel)
        return [Instance(**row) for row in await self._rows(query)]

    async def admit(self, tunnel: str, instance: str, counter: int) -> Verdict:
        this = INSTANCES.c.id == instance, INSTANCES.c.tunnel == tunnel
        enabled = select(TUNNELS.c.name).where(TUNNELS.c.disabled.is_(False))
        accept = (
            update(INSTANCES)
            .where(
                *this,
                INSTANCES.c.locked.is_(None),
                INSTANCES.c.counter < counter,
                INSTANCES.c.tunnel.in_(enabled),
            )
            .values(counter=counter)
        )
        why = (
            select(INSTANCES.c.locked, TUNNELS.c.disabled)
            .join(TUNNELS, TUNNELS.c.name == INSTANCES.c.tunnel)
            .where(*this)
        )
        async with self._transaction() as connection:
            if (await connection.execute(accept)).rowcount == 1:
                return Verdict.ADMITTED
            row = (await connection.execute(why)).one_or_none()
            if row is None:
                return Verdict.UNKNOWN
            if row.locked is not None:
                return Verdict.LOCKED
            if row.disabled:
                return Verdict.DISABLED
            await connection.execute(update(INSTANCES).where(*this).values(locked=CLONED))
            return Verdict.CLONED

    async def add_session(self, session: Session) -> None:
        async with self._transaction() as connection:
            await connection.execute(insert(SESSIONS).values(asdict(session)))

    async def sessions(self) -> list[Session]:
        rows = await self._rows(select(SESSIONS).order_by(SESSIONS.c.created))
        return [Session(**row) for row in rows]

    async def revoke_session(self, session: str, now: float, reason: str) -> bool:
        this = SESSIONS.c.id == session
        revoke = update(SESSIONS).where(this, SESSIONS.c.revoked.is_(None))
        async with self._transaction() as connection:
            await connection.execute(revoke.values(revoked=now, reason=reason))
            found = await connection.execute(select(SESSIONS.c.id).where(this))
            return found.one_or_none() is not None

    async def touch_sessions(self, last_used: Mapping[str, float]) -> None:
        if not last_used:
            return
        touch = (
            update(SESSIONS)
            .where(SESSIONS.c.id == bindparam("of"), SESSIONS.c.last_used < bindparam("at"))
            .values(last_used=bindparam("at"))
        )
        rows = [{"of": session, "at": at} for session, at in last_used.items()]
        async with self._transaction() as connection:
            await connection.execute(touch, rows)

    async def purge_sessions(self, before: float) -> int:
        ended = or_(SESSIONS.c.expires < before, SESSIONS.c.revoked < before)
        return await self._change(delete(SESSIONS).where(ended))

    async def add_lock(self, lock: Lock) -> None:
        async with self._transaction() as connection:
            # Again after a commit of which only the answer failed: it must do no harm.
            await connection.execute(delete(LOCKS).where(LOCKS.c.id == lock.id))
            await connection.execute(insert(LOCKS).values(asdict(lock)))

    async def locks(self) -> list[Lock]:
        rows = await self._rows(select(LOCKS).order_by(LOCKS.c.created))
        return [Lock(**{**row, "kind": LockKind(row["kind"])}) for row in rows]

    async def remove_lock(self, lock: str) -> bool:
        return await self._change(delete(LOCKS).where(LOCKS.c.id == lock)) == 1

    async def _rows(self, query: Any) -> list[dict[str, Any]]:
        async with self._transaction() as connection:
            return [dict(row) for row in (await connection.execute(query)).mappings()]

    async def _change(self, statement: Any) -> int:
        async with self._transaction() as connection:
            return int((await connection.execute(statement)).rowcount)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
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


async def _why_not_joined(connection: AsyncConnection, digest: bytes, now: float) -> Joining:
    query = select(JOIN_CODES.c.used, JOIN_CODES.c.expires).where(JOIN_CODES.c.digest == digest)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return Joining.UNKNOWN
    if row.used is not None:
        return Joining.USED
    return Joining.EXPIRED if now >= row.expires else Joining.DISABLED


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
