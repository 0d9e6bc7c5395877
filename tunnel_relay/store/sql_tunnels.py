"""Tunnels, their clients and join codes on SQL."""

from dataclasses import asdict, replace
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql import bindparam, delete, insert, select, update

from tunnel_relay.store.base import Instance, JoinCode, Joining, Tunnel, Verdict
from tunnel_relay.store.batches import Batch
from tunnel_relay.store.database import Database
from tunnel_relay.store.tables import INSTANCES, JOIN_CODES, TUNNELS

CLONED = "cloned: its counter went backwards, so two machines hold this key"

# What every link needs that is made, written once: to build it cost more than to run it.
_THIS = INSTANCES.c.tunnel == bindparam("tunnel_"), INSTANCES.c.id == bindparam("id_")
_FIND = select(INSTANCES).where(*_THIS)
_ACCEPT = (
    update(INSTANCES)
    .where(
        *_THIS,
        INSTANCES.c.locked.is_(None),
        INSTANCES.c.counter < bindparam("counter_"),
        INSTANCES.c.tunnel.in_(select(TUNNELS.c.name).where(TUNNELS.c.disabled.is_(False))),
    )
    .values(counter=bindparam("counter_"))
)
_WHY_NOT = (
    select(INSTANCES.c.locked, TUNNELS.c.disabled)
    .join(TUNNELS, TUNNELS.c.name == INSTANCES.c.tunnel)
    .where(*_THIS)
)
_LOCK = update(INSTANCES).where(*_THIS).values(locked=CLONED)


class SqlTunnels(Database):
    """See `tunnel_relay.store.base.Store`."""

    def __init__(self, engine: AsyncEngine, path: Path) -> None:
        super().__init__(engine, path)
        self._finding = Batch(self.transaction, _found)
        self._admitting = Batch(self.transaction, _admitted)

    async def add_tunnel(self, tunnel: Tunnel, code: JoinCode) -> None:
        async with self.transaction() as connection:
            await connection.execute(insert(TUNNELS).values(asdict(tunnel)))
            await connection.execute(insert(JOIN_CODES).values(asdict(code)))

    async def tunnel(self, name: str) -> Tunnel | None:
        found = await self.rows(select(TUNNELS).where(TUNNELS.c.name == name))
        return Tunnel(**found[0]) if found else None

    async def tunnels(self) -> list[Tunnel]:
        return [Tunnel(**row) for row in await self.rows(select(TUNNELS).order_by(TUNNELS.c.name))]

    async def set_disabled(self, name: str, disabled: bool) -> bool:
        change = update(TUNNELS).where(TUNNELS.c.name == name).values(disabled=disabled)
        return await self.change(change) == 1

    async def delete_tunnel(self, name: str) -> bool:
        return await self.change(delete(TUNNELS).where(TUNNELS.c.name == name)) == 1

    async def replace_join_code(self, code: JoinCode, drop_instances: bool) -> None:
        unused = JOIN_CODES.c.tunnel == code.tunnel, JOIN_CODES.c.used.is_(None)
        async with self.transaction() as connection:
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
        async with self.transaction() as connection:
            tunnel = (await connection.execute(take)).scalar_one_or_none()
            if tunnel is None:
                return await _why_not_joined(connection, digest, now), ""
            row = asdict(replace(instance, tunnel=tunnel))
            await connection.execute(insert(INSTANCES).values(row))
            return Joining.JOINED, tunnel

    async def instance(self, tunnel: str, instance: str) -> Instance | None:
        return await self._finding.ask((tunnel, instance))

    async def instances(self, tunnel: str | None = None) -> list[Instance]:
        query = select(INSTANCES).order_by(INSTANCES.c.created)
        if tunnel is not None:
            query = query.where(INSTANCES.c.tunnel == tunnel)
        return [Instance(**row) for row in await self.rows(query)]

    async def admit(self, tunnel: str, instance: str, counter: int) -> Verdict:
        return await self._admitting.ask((tunnel, instance, counter))


async def _found(connection: AsyncConnection, asked: tuple[str, str]) -> Instance | None:
    tunnel, instance = asked
    found = await connection.execute(_FIND, {"tunnel_": tunnel, "id_": instance})
    row = found.mappings().one_or_none()
    return None if row is None else Instance(**row)


async def _admitted(connection: AsyncConnection, asked: tuple[str, str, int]) -> Verdict:
    tunnel, instance, counter = asked
    this = {"tunnel_": tunnel, "id_": instance}
    if (await connection.execute(_ACCEPT, {**this, "counter_": counter})).rowcount == 1:
        return Verdict.ADMITTED
    row = (await connection.execute(_WHY_NOT, this)).one_or_none()
    if row is None:
        return Verdict.UNKNOWN
    if row.locked is not None:
        return Verdict.LOCKED
    if row.disabled:
        return Verdict.DISABLED
    await connection.execute(_LOCK, this)
    return Verdict.CLONED


async def _why_not_joined(connection: AsyncConnection, digest: bytes, now: float) -> Joining:
    query = select(JOIN_CODES.c.used, JOIN_CODES.c.expires).where(JOIN_CODES.c.digest == digest)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return Joining.UNKNOWN
    if row.used is not None:
        return Joining.USED
    return Joining.EXPIRED if now >= row.expires else Joining.DISABLED
