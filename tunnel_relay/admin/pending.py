"""What memory enforces and the store did not take: tried again, in the journal meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import structlog

from tunnel_relay.admin import changes
from tunnel_relay.admin.changes import Known
from tunnel_relay.admin.journal import Journal, JournalError
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.store.base import Store, StoreError

STORE_SECONDS = 12.0
"""For the store: queue and lock give up before that, a disk that hangs does not."""
JOURNAL_SECONDS = 5.0
"""For the disk to take a line; a disk that hangs must not hang the command."""

log = structlog.get_logger("tunnel_relay.admin")


class Pending:
    """Stores changes, and keeps those that failed by what they are about."""

    def __init__(self, store: Store, journal: Journal) -> None:
        self._store = store
        self._journal = journal
        self._changes: dict[str, Known] = {}
        self._journalled: set[str] = set()
        self._attempts: set[asyncio.Task[str | None]] = set()
        # One line at a time; a thread that hangs keeps its place.
        self._writer = anyio.CapacityLimiter(1)

    def __len__(self) -> int:
        return len(self._changes)

    @property
    def forgettable(self) -> int:
        """How many of them a restart would forget."""
        return len(self._changes.keys() - self._journalled)

    async def keep(self, change: Known) -> dict[str, Any]:
        """Store a change; one that fails is kept, in the journal too. Tells which it was."""
        problem = await self._store_in_time(change)
        if problem is not None:
            self._changes[change.key] = change
            journalled = await self._write(change.key, changes.to_json(change))
            if change.key not in self._changes:  # stored or lifted while it was written
                await self._settled(change.key)
            code = Code.NOT_YET_STORED if journalled else Code.NOT_KEPT
            log.error("not_stored", code=code, what=change.key, error=problem)
            return {"stored": False, "journalled": journalled}
        if self._changes.pop(change.key, None) is not None:
            await self._settled(change.key)
        return {"stored": True}

    async def _store_in_time(self, change: Known) -> str | None:
        """Store a change; returns why it is not known to be stored, None when it is."""

        async def attempt() -> str | None:
            try:
                await change.store(self._store)
            except StoreError as error:
                return str(error)
            return None

        # A disk that hangs cannot be called off: the attempt goes on, and nobody waits for it.
        task = asyncio.get_running_loop().create_task(attempt())
        self._attempts.add(task)
        task.add_done_callback(self._attempts.discard)
        done, _ = await asyncio.wait({task}, timeout=STORE_SECONDS)
        return task.result() if done else "the database does not answer"

    @asynccontextmanager
    async def lifting(self, key: str) -> AsyncIterator[None]:
        """Store something that undoes a change: if that works, the change is not wanted any more.

        The body raises StoreError when it did not.
        """
        change = self._changes.pop(key, None)
        try:
            yield
        except StoreError:
            if change is not None:
                self._changes.setdefault(key, change)
            raise
        if change is not None and key not in self._changes:
            await self._settled(key)

    async def flush(self) -> StoreError | None:
        """Try again to store what is left, oldest first; returns the first failure."""
        failed: StoreError | None = None
        for key, change in list(self._changes.items()):
            if self._changes.get(key) is not change:  # taken back, or replaced, meanwhile
                continue
            try:
                await change.store(self._store)
            except StoreError as error:
                failed = failed or error
                continue
            if self._changes.get(key) is change:
                del self._changes[key]
                log.info("stored_at_last", what=key)
                await self._settled(key)
        return failed

    async def replay(self) -> int:
        """Store what a relay before this one left in the journal; returns how many changes.

        Raises StoreError, with the journal untouched, and RelayError for one that is not ours.
        """
        left: dict[str, Known] = {}
        for values in self._journal.read():
            if values.get("do") == "settled":
                left.pop(values["key"], None)
                continue
            try:
                change = changes.from_json(values)
            except ValueError as error:
                raise RelayError(Code.FILE_UNSAFE, f"the journal: {error}") from None
            left[change.key] = change
        for change in left.values():
            await change.store(self._store)
        await self._in_thread(self._journal.clear)
        if left:
            log.warning("journal_replayed", changes=len(left))
        return len(left)

    def reserve(self) -> None:
        """Lay by the journal's room while the disk has some."""
        if not self._journal.reserve():
            log.warning("journal_not_reserved", code=Code.NOT_KEPT)

    async def _settled(self, key: str) -> None:
        """Let the journal know that this needs no replay."""
        if key in self._journalled:
            self._journalled.discard(key)
            await self._write(key, {"do": "settled", "key": key})
        if not self._changes:
            await self._in_thread(self._journal.clear)

    async def _write(self, key: str, values: dict[str, Any]) -> bool:
        written = await self._in_thread(partial(self._journal.append, values))
        if written:
            self._journalled.add(key)
        return written

    async def _in_thread(self, act: Any) -> bool:
        with anyio.move_on_after(JOURNAL_SECONDS):
            try:
                await anyio.to_thread.run_sync(act, abandon_on_cancel=True, limiter=self._writer)
            except JournalError as error:
                log.error("journal_failed", code=Code.NOT_KEPT, error=str(error))
                return False
            return True
        log.error("journal_failed", code=Code.NOT_KEPT, error="the disk does not answer")
        return False
