"""Users and agents, the locks on them and the admin tokens of users, on SQL."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy.sql import delete, insert, select, update

from tunnel_relay.store.base import AdminToken, Agent, AgentKind, Lock, LockKind, Role, User
from tunnel_relay.store.database import Database
from tunnel_relay.store.tables import ADMIN_TOKENS, AGENTS, LOCKS, USERS


class SqlPeople(Database):
    """See `tunnel_relay.store.base.Store`."""

    async def put_user(self, user: User) -> None:
        async with self.transaction() as connection:
            await connection.execute(delete(USERS).where(USERS.c.key == user.key))
            await connection.execute(insert(USERS).values(asdict(user)))

    async def change_user(self, user: User) -> None:
        kept = {"key", "created", "password", "last_login"}
        values = {name: value for name, value in asdict(user).items() if name not in kept}
        await self.change(update(USERS).where(USERS.c.key == user.key).values(values))

    async def users(self) -> list[User]:
        return [_user(row) for row in await self.rows(select(USERS).order_by(USERS.c.key))]

    async def put_agent(self, agent: Agent) -> None:
        async with self.transaction() as connection:
            await connection.execute(delete(AGENTS).where(AGENTS.c.id == agent.id))
            await connection.execute(insert(AGENTS).values(asdict(agent)))

    async def disable_agent(self, agent: str, at: float) -> None:
        await self.change(update(AGENTS).where(AGENTS.c.id == agent).values(disabled=at))

    async def agents(self) -> list[Agent]:
        rows = await self.rows(select(AGENTS).order_by(AGENTS.c.id))
        return [_agent(row) for row in rows]

    async def add_lock(self, lock: Lock) -> None:
        async with self.transaction() as connection:
            # Again after a commit of which only the answer failed: it must do no harm.
            await connection.execute(delete(LOCKS).where(LOCKS.c.id == lock.id))
            await connection.execute(insert(LOCKS).values(asdict(lock)))

    async def locks(self) -> list[Lock]:
        rows = await self.rows(select(LOCKS).order_by(LOCKS.c.created))
        return [Lock(**{**row, "kind": LockKind(row["kind"])}) for row in rows]

    async def remove_lock(self, lock: str) -> bool:
        return await self.change(delete(LOCKS).where(LOCKS.c.id == lock)) == 1

    async def add_admin_token(self, token: AdminToken) -> None:
        async with self.transaction() as connection:
            await connection.execute(insert(ADMIN_TOKENS).values(asdict(token)))

    async def admin_tokens(self) -> list[AdminToken]:
        rows = await self.rows(select(ADMIN_TOKENS).order_by(ADMIN_TOKENS.c.created))
        return [AdminToken(**row) for row in rows]

    async def remove_admin_tokens(self, tokens: Sequence[str]) -> None:
        if tokens:
            await self.change(delete(ADMIN_TOKENS).where(ADMIN_TOKENS.c.id.in_(tokens)))


def _user(row: dict[str, Any]) -> User:
    row["roles"] = tuple(map(Role, row["roles"]))
    row["groups"], row["servers"] = tuple(row["groups"]), tuple(row["servers"])
    return User(**row)


def _agent(row: dict[str, Any]) -> Agent:
    row["kind"] = AgentKind(row["kind"])
    row["redirect_uris"] = tuple(row["redirect_uris"])
    return Agent(**row)
