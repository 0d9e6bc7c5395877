"""MCP tasks on SQL."""

from collections.abc import Sequence

from sqlalchemy import bindparam
from sqlalchemy.sql import delete, insert, select

from tunnel_relay.store.database import Database
from tunnel_relay.store.tables import SESSIONS, TASKS
from tunnel_relay.store.tasks import Task

_KEEP = insert(TASKS).from_select(
    ["digest", "session", "created"],
    # From the sessions: one that was purged meanwhile must not fail all the others.
    select(
        bindparam("of", type_=TASKS.c.digest.type),
        SESSIONS.c.id,
        bindparam("at", type_=TASKS.c.created.type),
    ).where(SESSIONS.c.id == bindparam("by")),
)


class SqlTasks(Database):
    """See `tunnel_relay.store.tasks.TaskStore`."""

    async def keep_tasks(self, tasks: Sequence[Task], gone: Sequence[bytes]) -> None:
        replaced = [{"of": digest} for digest in (*gone, *(task.digest for task in tasks))]
        if not replaced:
            return
        rows = [{"of": task.digest, "by": task.session, "at": task.created} for task in tasks]
        async with self.transaction() as connection:
            await connection.execute(
                delete(TASKS).where(TASKS.c.digest == bindparam("of")), replaced
            )
            if rows:
                await connection.execute(_KEEP, rows)

    async def tasks(self) -> list[Task]:
        rows = await self.rows(select(TASKS).order_by(TASKS.c.created))
        return [Task(**row) for row in rows]
