"""Keeps the catalogue true while the client runs: lists upstreams, takes in pins."""

from collections.abc import Callable, Collection, Mapping

import anyio
import anyio.lowlevel
import anyio.to_thread
import structlog

from tunnel_client.catalog.catalog import Catalog
from tunnel_client.catalog.definitions import Kind
from tunnel_client.catalog.listing import Listing, list_upstream
from tunnel_client.catalog.marks import Table
from tunnel_client.errors import ClientError
from tunnel_client.errors_upstreams import ListingError
from tunnel_client.upstream.base import Upstream

log = structlog.get_logger("tunnel_client.catalog")

LIST_SECONDS = 300.0
RETRY_SECONDS = 10.0
"""After a failure, doubling up to the time between two listings."""
GAP_SECONDS = 5.0
"""Between two listings of one upstream, however often its lists change."""
PINS_SECONDS = 1.0
SCANNED_AT_ONCE = 20


class Keeper:
    """Lists each upstream at start if in `at_start`, and every five minutes if in `periodic`.

    Periodic listings happen while `linked` says so. An upstream that is down is no error.
    """

    def __init__(
        self,
        catalog: Catalog,
        upstreams: Mapping[str, Upstream],
        at_start: Collection[str],
        periodic: Collection[str],
        linked: Callable[[], bool],
    ) -> None:
        self._catalog = catalog
        self._upstreams = upstreams
        self._at_start = frozenset(at_start)
        self._periodic = frozenset(periodic)
        self._linked = linked
        self._woken = {name: anyio.Event() for name in upstreams}
        self._marked = anyio.Event()
        self._told: str | None = None
        catalog.wanted = self.wake
        catalog.marked = lambda: self._marked.set()

    def wake(self, upstream: str) -> None:
        """Have an upstream listed soon: its list changed, or something unknown passed by."""
        if upstream in self._woken:
            self._woken[upstream].set()

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch_pins)
                tasks.start_soon(self._keep_marks)
                for name in self._upstreams:
                    tasks.start_soon(self._keep, name)
        finally:
            self._store(self._catalog.marks())

    async def _keep(self, name: str) -> None:
        failures = 0
        if name in self._at_start:
            self.wake(name)
        while True:
            retry = min(RETRY_SECONDS * 2**failures / 2, LIST_SECONDS)
            pause = LIST_SECONDS if not failures else retry
            with anyio.move_on_after(pause):
                await self._woken[name].wait()
            due = name in self._periodic and self._linked()
            if not self._woken[name].is_set() and not due:
                continue
            self._woken[name] = anyio.Event()
            failures = 0 if await self._list(name) else min(failures + 1, 10)
            await anyio.sleep(GAP_SECONDS)

    async def _list(self, name: str) -> bool:
        try:
            listing = await list_upstream(self._upstreams[name])
        except ListingError as error:
            self._catalog.failed(name, error.cause)
            log.info("cannot list an upstream", upstream=name, why=error.cause)
            return False
        self._catalog.learn(name, listing)
        await self._look(name, listing)
        return True

    async def _look(self, name: str, listing: Listing) -> None:
        """Have every tool scanned now, a few at a time, so that nobody waits for it later."""
        for at, item in enumerate(listing.of(Kind.TOOL)):
            self._catalog.state(name, item.name)
            if at % SCANNED_AT_ONCE == 0:
                await anyio.lowlevel.checkpoint()

    async def _watch_pins(self) -> None:
        while True:
            await anyio.sleep(PINS_SECONDS)
            try:
                if self._catalog.refresh_pins():
                    log.info("pins read again")
            except ClientError as error:
                # What was approved stays approved, and nothing else becomes so.
                log.error("pins.json cannot be used; the pins from before stay", why=error.cause)

    async def _keep_marks(self) -> None:
        """Write down what changed as it is seen, in a thread: no call waits for the disk."""
        while True:
            await self._marked.wait()
            self._marked = anyio.Event()
            if not await anyio.to_thread.run_sync(self._store, self._catalog.marks()):
                await anyio.sleep(RETRY_SECONDS)
                self._marked.set()

    def _store(self, marks: Table) -> bool:
        try:
            self._catalog.store(marks)
        except ClientError as error:
            if error.cause != self._told:
                why = error.cause
                log.error("a restart would forget which tools changed: cannot write", why=why)
            self._told = error.cause
            return False
        self._told = None
        return True
