"""Passkeys on SQL."""

from dataclasses import asdict

from sqlalchemy.sql import delete, insert, select, update

from tunnel_relay.store.database import Database
from tunnel_relay.store.passkeys import OwnPasskey
from tunnel_relay.store.tables import PASSKEYS


class SqlPasskeys(Database):
    """See `tunnel_relay.store.passkeys.PasskeyStore`."""

    async def add_passkey(self, passkey: OwnPasskey) -> None:
        await self.change(insert(PASSKEYS).values(asdict(passkey)))

    async def passkeys(self) -> list[OwnPasskey]:
        rows = await self.rows(select(PASSKEYS).order_by(PASSKEYS.c.added))
        return [OwnPasskey(**row) for row in rows]

    async def use_passkey(self, passkey: str, at: float) -> None:
        await self.change(update(PASSKEYS).where(PASSKEYS.c.id == passkey).values(last_used=at))

    async def remove_passkey(self, passkey: str) -> None:
        await self.change(delete(PASSKEYS).where(PASSKEYS.c.id == passkey))
