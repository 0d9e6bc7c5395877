"""Sessions and their tokens on SQL."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import bindparam
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import delete, insert, or_, select, update

from tunnel_relay.store.base import (
    Bar,
    Door,
    Renewal,
    Session,
    TakeBack,
    Token,
    TokenKind,
)
from tunnel_relay.store.database import Database
from tunnel_relay.store.tables import BARS, MARKS, SESSIONS, TOKENS, TUNNELS

CLOCK = "clock"
READ_ROWS = 1000
REPEAT_SECONDS = 60.0
"""For so long an agent that never saw an answer may trade the same refresh token in again."""
BARRED = ("user", "agent", "tunnel", "upstream")
"""What a bar is on."""
REPEATED = ("user", "agent", "tunnel", "upstream", "granted_by", "reason")
"""Texts that many sessions share; one copy of each is kept."""


class SqlSessions(Database):
    """See `tunnel_relay.store.base.Store`."""

    async def add_session(self, session: Session, tokens: Sequence[Token] = ()) -> None:
        async with self.transaction() as connection:
            await connection.execute(insert(SESSIONS).values(asdict(session)))
            for token in tokens:
                await connection.execute(insert(TOKENS).values(asdict(token)))

    async def sessions(self) -> list[Session]:
        found: list[Session] = []
        async with self.transaction() as connection:
            # Piece by piece: all rows at once would weigh more than what is made of them.
            rows = await connection.stream(select(SESSIONS).order_by(SESSIONS.c.created))
            async for piece in rows.mappings().partitions(READ_ROWS):
                found += map(_session, piece)
        return found

    async def tokens(self, now: float) -> list[Token]:
        good = TOKENS.c.kind == TokenKind.ACCESS, TOKENS.c.expires > now
        return [_token(row) for row in await self.rows(select(TOKENS).where(*good))]

    async def renew(
        self, digest: bytes, agent: str, now: float, new: Sequence[Token], take_back: TakeBack
    ) -> tuple[Renewal, str]:
        this = TOKENS.c.digest == digest, TOKENS.c.kind == TokenKind.REFRESH
        theirs = select(SESSIONS.c.id).where(SESSIONS.c.agent == agent)
        find = select(TOKENS).where(*this, TOKENS.c.session.in_(theirs))
        async with self.transaction() as connection:
            row = (await connection.execute(find)).mappings().one_or_none()
            if row is None:
                return Renewal.UNKNOWN, ""
            outcome = Renewal.RENEWED
            if row["used"] is not None:
                # The distance, not the order: a clock that is set back opens nothing for longer.
                late = abs(now - row["used"]) >= REPEAT_SECONDS
                if late or not await self._void(connection, row, now, take_back):
                    return Renewal.REUSED, row["session"]
                outcome = Renewal.REPEATED
            if now >= row["expires"]:
                return Renewal.EXPIRED, row["session"]
            if outcome is Renewal.RENEWED:
                await connection.execute(update(TOKENS).where(*this).values(used=now))
            for token in new:
                stored = asdict(replace(token, session=row["session"], parent=digest))
                await connection.execute(insert(TOKENS).values(stored))
            return outcome, row["session"]

    async def _void(
        self,
        connection: AsyncConnection,
        traded: Mapping[Any, Any],
        now: float,
        take_back: TakeBack,
    ) -> bool:
        """Void what a refresh token was traded in for; False when any of it was used.

        The refresh token among it stays known, as a used one: who brings it was overtaken by
        somebody, and that ends the session.
        """
        theirs = TOKENS.c.session == traded["session"], TOKENS.c.parent == traded["digest"]
        rows = (await connection.execute(select(TOKENS).where(*theirs))).mappings().all()
        refresh = [row for row in rows if row["kind"] == TokenKind.REFRESH]
        if len(refresh) != 1 or refresh[0]["used"] is not None:
            return False
        access = [row["digest"] for row in rows if row["kind"] == TokenKind.ACCESS]
        if not all(take_back(each) for each in access):
            return False
        void = update(TOKENS).where(TOKENS.c.digest == refresh[0]["digest"])
        await connection.execute(void.values(used=now, parent=None))
        await connection.execute(delete(TOKENS).where(*theirs))
        return True

    async def session_of(self, digest: bytes) -> str | None:
        found = await self.rows(select(TOKENS.c.session).where(TOKENS.c.digest == digest))
        return found[0]["session"] if found else None

    async def revoke_session(self, session: str, now: float, reason: str) -> bool:
        this = SESSIONS.c.id == session
        revoke = update(SESSIONS).where(this, SESSIONS.c.revoked.is_(None))
        async with self.transaction() as connection:
            await connection.execute(revoke.values(revoked=now, reason=reason))
            found = await connection.execute(select(SESSIONS.c.id).where(this))
            return found.one_or_none() is not None

    async def revoke_sessions(self, sessions: Sequence[str], now: float, reason: str) -> None:
        if not sessions:
            return
        of = SESSIONS.c.id == bindparam("of")
        revoke = update(SESSIONS).where(of, SESSIONS.c.revoked.is_(None))
        async with self.transaction() as connection:
            await connection.execute(
                revoke.values(revoked=now, reason=reason), [{"of": each} for each in sessions]
            )

    async def touch_sessions(self, used: Mapping[str, tuple[float, int]]) -> None:
        if not used:
            return
        touch = (
            update(SESSIONS)
            .where(SESSIONS.c.id == bindparam("of"), SESSIONS.c.last_used < bindparam("at"))
            .values(last_used=bindparam("at"), calls=bindparam("count"))
        )
        rows = [{"of": each, "at": at, "count": calls} for each, (at, calls) in used.items()]
        async with self.transaction() as connection:
            await connection.execute(touch, rows)

    async def add_bar(self, bar: Bar) -> None:
        same = (getattr(BARS.c, name) == getattr(bar, name) for name in BARRED)
        tunnel = select(TUNNELS.c.name).where(TUNNELS.c.name == bar.tunnel)
        async with self.transaction() as connection:
            await connection.execute(delete(BARS).where(*same))
            # One that was deleted meanwhile is shut anyhow.
            if (await connection.execute(tunnel)).one_or_none() is not None:
                await connection.execute(insert(BARS).values(asdict(bar)))

    async def bars(self) -> list[Bar]:
        rows = await self.rows(select(BARS).order_by(BARS.c.since))
        return [Bar(**row) for row in rows]

    async def remove_bar(self, bar: str) -> None:
        await self.change(delete(BARS).where(BARS.c.id == bar))

    async def mark_time(self, now: float) -> None:
        this = MARKS.c.name == CLOCK
        async with self.transaction() as connection:
            before = (await connection.execute(select(MARKS.c.value).where(this))).scalar()
            if before is None:
                await connection.execute(insert(MARKS).values(name=CLOCK, value=now))
            elif before < now:
                await connection.execute(update(MARKS).where(this).values(value=now))

    async def latest_time(self) -> float:
        rows = await self.rows(select(MARKS.c.value).where(MARKS.c.name == CLOCK))
        return float(rows[0]["value"]) if rows else 0.0

    async def purge_sessions(self, before: float) -> int:
        await self.change(delete(TOKENS).where(TOKENS.c.expires < before))
        ended = or_(SESSIONS.c.expires < before, SESSIONS.c.revoked < before)
        return await self.change(delete(SESSIONS).where(ended))


def _session(row: Mapping[Any, Any]) -> Session:
    values = dict(row)
    values["door"] = Door(values["door"])
    values["classes"] = tuple(values["classes"])
    for name in REPEATED:
        if values[name] is not None:
            values[name] = sys.intern(values[name])
    return Session(**values)


def _token(row: dict[str, Any]) -> Token:
    row["kind"] = TokenKind(row["kind"])
    return Token(**row)
