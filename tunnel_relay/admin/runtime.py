"""Opens what an Admin works on, for the serving relay and for a command when none serves."""

import fcntl
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from pathlib import Path

import anyio
import structlog

from shared.holder import LOCK_FILE, sign
from tunnel_relay.admin.core import KEEP_ENDED
from tunnel_relay.admin.service import Admin
from tunnel_relay.audit.keep import kept
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.files import check_state_dir
from tunnel_relay.keyfiles import read_relay_key
from tunnel_relay.sessions import SessionTable
from tunnel_relay.settings import Settings
from tunnel_relay.store.base import StoreError
from tunnel_relay.store.sql import SqlStore

CLOSE_DEADLINE = 5.0
LOOK_SECONDS = 0.01
log = structlog.get_logger("tunnel_relay.admin")


@asynccontextmanager
async def open_admin(
    settings: Settings,
    *,
    serving: bool,
    patience: float = 0.0,
    waits: Callable[[], None] = lambda: None,
) -> AsyncIterator[Admin]:
    """Hold the state alone, open the store, read it into memory; write back at the end.

    `patience` is for how many seconds another process may go on holding it; `waits` is called once
    if one does.

    Raises RelayError: STATE_IN_USE, FILE_UNSAFE, KEY_UNUSABLE; and StoreError.
    """
    check_state_dir(settings.state_dir)
    with ExitStack() as held:
        await _hold_state(held, settings, patience, waits)
        records = held.enter_context(kept(settings, serving=serving))
        key = read_relay_key(settings.relay_key)
        store = await SqlStore.open(settings.database)
        try:
            await store.purge_sessions(time.time() - KEEP_ENDED)
            admin = Admin(store, SessionTable(), settings, relay_key=key.public, serving=serving)
            admin.records = records
            await admin.pending.replay()
            admin.pending.reserve()
            await admin.load()
            try:
                yield admin
            finally:
                await _last_flush(admin)
        finally:
            with anyio.move_on_after(CLOSE_DEADLINE, shield=True):
                await store.close()


async def _hold_state(
    held: ExitStack, settings: Settings, patience: float, waits: Callable[[], None]
) -> None:
    """Take the state, waiting for who has it; raises RelayError STATE_IN_USE in the end."""
    give_up, told = anyio.current_time() + patience, False
    while True:
        try:
            with ExitStack() as both:
                both.enter_context(lock_state(settings.state_dir))
                both.enter_context(_lock_database(settings.database))
                held.push(both.pop_all())
        except RelayError as error:
            if error.code is not Code.STATE_IN_USE or anyio.current_time() >= give_up:
                raise
        else:
            return
        if not told:
            waits()
            told = True
        await anyio.sleep(LOOK_SECONDS)


def lock_state(state_dir: Path) -> AbstractContextManager[None]:
    """Make this process the only one that writes the state; see `_lock`."""
    return _lock(state_dir / LOCK_FILE, state_dir)


def _lock_database(database: Path) -> AbstractContextManager[None]:
    """The same for a database: the configurations of two state folders may name one."""
    real = database.resolve()
    return _lock(real.with_name(f"{real.name}.lock"), database)


@contextmanager
def _lock(path: Path, what: Path) -> Iterator[None]:
    """Hold a lock file; the kernel lets go of it when the process dies, however it dies.

    Raises RelayError STATE_IN_USE, and StoreError where there can be no such file.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"cannot open {path}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RelayError(Code.STATE_IN_USE, f"{what} is in use") from None
        with suppress(OSError):  # on a full disk it is held all the same
            sign(descriptor)
        yield
    finally:
        os.close(descriptor)


async def _last_flush(admin: Admin) -> None:
    with anyio.move_on_after(CLOSE_DEADLINE, shield=True) as scope:
        try:
            await admin.flush_last_used()
        except StoreError as error:
            log.error("not_stored", code=Code.NOT_YET_STORED, error=str(error))
    if scope.cancelled_caught:
        log.error("not_stored", code=Code.NOT_YET_STORED, error="timed out")
