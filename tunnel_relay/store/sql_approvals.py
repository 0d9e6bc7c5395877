"""Approvals on SQL."""

from dataclasses import asdict
from typing import Any

from sqlalchemy.sql import and_, delete, insert, or_, select, update

from tunnel_relay.store.approvals import Approval, State, Texts, Voice
from tunnel_relay.store.database import Database
from tunnel_relay.store.tables import APPROVALS

_TEXTS = ("arguments_text", "definition_text")
_FACTS = [column for column in APPROVALS.c if column.name not in _TEXTS]
_TUPLES = ("groups", "users", "keys")


class SqlApprovals(Database):
    """See `tunnel_relay.store.approvals.ApprovalStore`."""

    async def add_approval(self, approval: Approval, texts: Texts) -> None:
        values = asdict(approval) | {
            "arguments_text": texts.arguments,
            "definition_text": texts.definition,
        }
        await self.change(insert(APPROVALS).values(values))

    async def approvals(self) -> list[Approval]:
        rows = await self.rows(select(*_FACTS).order_by(APPROVALS.c.created))
        return [_approval(row) for row in rows]

    async def approval_texts(self, approval: str) -> Texts | None:
        columns = (APPROVALS.c.arguments_text, APPROVALS.c.definition_text)
        rows = await self.rows(select(*columns).where(APPROVALS.c.id == approval))
        return Texts(*(rows[0][name] for name in _TEXTS)) if rows else None

    async def decide_approval(self, approval: Approval, before: State) -> bool:
        decided = ("state", "voices", "decided", "decided_by", "reason")
        values = {name: value for name, value in asdict(approval).items() if name in decided}
        found = and_(APPROVALS.c.id == approval.id, APPROVALS.c.state == before)
        return await self.change(update(APPROVALS).where(found).values(values)) == 1

    async def deny_approval(self, approval: str, at: float, by: str, reason: str) -> None:
        undecided = APPROVALS.c.state.in_([State.PENDING, State.APPROVED])
        found = and_(APPROVALS.c.id == approval, undecided)
        values = {"state": State.DENIED, "decided": at, "decided_by": by, "reason": reason}
        await self.change(update(APPROVALS).where(found).values(values))

    async def consume_approval(self, approval: str, now: float) -> bool:
        found = and_(
            APPROVALS.c.id == approval,
            APPROVALS.c.state == State.APPROVED,
            APPROVALS.c.expires > now,
        )
        values = {"state": State.CONSUMED, "consumed": now}
        return await self.change(update(APPROVALS).where(found).values(values)) == 1

    async def purge_approvals(self, texts_before: float, before: float) -> None:
        over = or_(
            APPROVALS.c.expires <= texts_before,
            and_(APPROVALS.c.decided <= texts_before, APPROVALS.c.state == State.DENIED),
            APPROVALS.c.consumed <= texts_before,
        )
        gone = dict.fromkeys(_TEXTS)
        async with self.transaction() as connection:
            await connection.execute(update(APPROVALS).where(over).values(gone))
            await connection.execute(delete(APPROVALS).where(APPROVALS.c.expires <= before))


def _approval(row: dict[str, Any]) -> Approval:
    row.update({name: tuple(row[name]) for name in _TUPLES})
    row["state"] = State(row["state"])
    row["voices"] = tuple(Voice(**voice) for voice in row["voices"])
    return Approval(**row)
