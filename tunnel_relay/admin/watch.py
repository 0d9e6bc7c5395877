"""Asks the store again and again whether it can still be written: that keeps the lease true."""

from collections.abc import Awaitable, Callable

import anyio
import structlog

from tunnel_relay.errors import Code
from tunnel_relay.lease import Lease
from tunnel_relay.store.base import Store, StoreError

BEAT = 5.0
"""Seconds from one question to the next, a third of a short lease at most."""
RETRY = 1.0
"""The same while the store fails: what is mended shall serve again soon."""

log = structlog.get_logger("tunnel_relay.store")


class StoreWatch:
    """Keeps a lease by writing to the store; `mended` runs after writes that succeeded."""

    def __init__(self, store: Store, lease: Lease, mended: Callable[[], Awaitable[object]]) -> None:
        self._store = store
        self._lease = lease
        self._mended = mended
        self._lapsed = False
        self._writable = anyio.Event()

    async def run(self) -> None:
        """Ask until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._tell_lapses)
            tasks.start_soon(self._mend)
            while True:
                heard = await self.beat()
                await anyio.sleep(min(BEAT if heard else RETRY, self._lease.seconds / 3))

    async def beat(self) -> bool:
        """Ask, again at once while answers are late; tells whether the store could be written."""
        try:
            while not await self._write():
                pass
        except StoreError as error:
            if self._lease.failed(str(error)):
                log.error("store_failed", reason=str(error), left=round(self._lease.left, 1))
            return False
        self._writable.set()
        return True

    async def _write(self) -> bool:
        """Write once, for the lease; tells whether that was prompt.

        A late answer counts from when it was asked for, so what it begins may end before the next
        question comes. It keeps a lease that is held, but one that lapsed waits for a prompt
        answer: then who serves again goes on serving.
        """
        asked = self._lease.clock()
        # Without a deadline: a disk that hangs cannot be called off, and the lease runs on.
        await self._store.ping()
        prompt = self._lease.clock() - asked < self._lease.seconds / 3
        if (prompt or self._lease.held) and self._lease.heard(asked):
            log.warning("store_mended")
        return prompt

    async def _mend(self) -> None:
        """Store what is left beside the beats: when that is much, it takes longer than a lease."""
        while True:
            await self._writable.wait()
            self._writable = anyio.Event()
            await self._mended()

    async def _tell_lapses(self) -> None:
        while True:
            await anyio.sleep(min(1.0, self._lease.seconds / 3))
            lapsed = not self._lease.held
            if lapsed and not self._lapsed:
                log.error("lease_lapsed", code=Code.LEASE_LAPSED, reason=self._lease.problem)
            self._lapsed = lapsed
