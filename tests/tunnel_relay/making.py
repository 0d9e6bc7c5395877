"""Makes relays for tests, with real files in a folder of the test."""

import functools
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import NullPool, create_engine

from shared.errors import CloseCode
from tunnel_relay.admin.links import CUT_WAIT
from tunnel_relay.admin.runtime import open_admin
from tunnel_relay.admin.service import Admin
from tunnel_relay.init import Wanted, init
from tunnel_relay.settings import Settings
from tunnel_relay.store.schema import upgrade
from tunnel_relay.tools import Told

URL = "https://relay.example.com"
ORIGIN = "wss://relay.example.com"


def make_relay(folder: Path, *, demo: bool = False) -> Settings:
    """Write a new relay's configuration and keys below `folder`."""
    config = folder / "relay.toml"
    return init(Wanted(config, folder / "state", URL, "127.0.0.1", 8443, demo=demo))


@functools.cache
def _tables() -> bytes:
    """Return a database that has the newest tables: making them anew took most of a test."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "relay.db")
        engine = create_engine(f"sqlite:///{file}", poolclass=NullPool)
        with engine.begin() as connection:
            upgrade(connection)
        return file.read_bytes()


@asynccontextmanager
async def an_admin(folder: Path) -> AsyncIterator[Admin]:
    """Open the Admin of a relay below `folder`, made when it is not there."""
    if (folder / "relay.toml").exists():
        settings = Settings(public_url=(URL,), state_dir=folder / "state")
    else:
        settings = make_relay(folder)
        settings.database.touch(mode=0o600)
        settings.database.write_bytes(_tables())
    async with open_admin(settings, serving=True) as admin:
        yield admin


async def known(admin: Admin, *users: str) -> None:
    """Make users without a login, as those of tunnels' owners are."""
    for user in users:
        await admin.person(user, "the user")


@dataclass
class RecordedLinks:
    """Links of another process's making: keeps what it was told, in order."""

    live: list[dict[str, Any]] = field(default_factory=list)
    told: list[tuple[object, ...]] = field(default_factory=list)
    offered: list[Told] = field(default_factory=list)

    def tools(self) -> list[Told]:
        return self.offered

    def links(self) -> list[dict[str, Any]]:
        return self.live

    async def cut_sessions(self, sessions: Sequence[str], wait: float = CUT_WAIT) -> dict[str, Any]:
        self.told.extend(("cut", session) for session in sessions)
        counts = {"streams": 3 * len(sessions), "links": 2, "ms": 12.0}
        return {**counts, "clients": [], "silent": []}

    def close_tunnel(self, tunnel: str, code: CloseCode, reason: str) -> int:
        self.told.append(("close_tunnel", tunnel, code))
        return 1

    def close_instance(self, instance: str, code: CloseCode, reason: str) -> int:
        self.told.append(("close_instance", instance, code))
        return 1
