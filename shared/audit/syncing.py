"""Waits for the disk in a thread, once for all who wait."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from shared.audit.disk import Disk, sync_and_close
from shared.audit.private import sync_folder

Done = Callable[[OSError | None], None]
AT_ONCE = 4 * 1024 * 1024
"""Bytes of a full segment that the loop itself waits for; for more a thread does first."""


class Syncing:
    """At most one job at a time; used on the loop, where it also says how a job ended."""

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._folder = folder
        self._loop = loop
        self._thread = ThreadPoolExecutor(1, "audit-sync")
        self._job: Future[None] | None = None
        self._after: Callable[[OSError | None], None] = _nothing
        self._left: list[Disk] = []
        """Segments that are full, as long as a thread may find that they are not on the disk."""
        self._names = False
        self._full = 0
        """How many records there were when a segment was full whose next one has to wait."""

    @property
    def busy(self) -> bool:
        """Is a job under way?"""
        return self._job is not None

    @property
    def behind(self) -> bool:
        """Is there a segment that was left, or is to be?"""
        return bool(self._left) or self._names or self._full > 0

    def unsynced(self, disk: Disk) -> int:
        """Return how many bytes may not be on the disk, those of segments that were left too."""
        return disk.unsynced + sum(each.unsynced for each in self._left)

    def leave(self, disk: Disk, written: int, synced: int) -> bool:
        """Take a segment that is full; the next job closes it. Raises OSError.

        False: it stays the last one, until a job was over that began after this. A name can be on
        the disk before the bytes of another file: a segment behind one whose end a fault of power
        took is not what was written.
        """
        if disk.unsynced > AT_ONCE:
            self._full = self._full or written
            if synced < self._full:
                return False
        disk.settle()
        self._full = 0
        self._left.append(disk)
        return True

    def named(self) -> None:
        """Have the next job see to the names in the folder too."""
        self._names = True

    def start(self, disk: Disk | None, done: Done) -> None:
        """Put what was written on the disk; `done` hears on the loop how that went."""
        left = list(self._left)
        disks = left if disk is None else [*left, disk]
        taken: list[tuple[Disk, int, list[tuple[int, bytes]]]] = []
        try:
            for each in disks:
                taken.append((each, *each.taken()))
        except OSError as error:  # no descriptor is left
            for each, file, held in taken:
                os.close(file)
                each.unsure(held)
            done(error)
            return
        names, self._names = self._names, False

        def work() -> None:
            sync_and_close([file for _, file, _ in taken])
            if names:
                sync_folder(self._folder)

        def after(error: OSError | None) -> None:
            for each, _, held in taken:
                if error is None:
                    each.synced(held)
                else:
                    each.unsure(held)
            self._names = self._names or (names and error is not None)
            if error is None:
                self._forget(left)
            done(error)

        self._submit(work, after)

    def repair(self, disk: Disk | None, done: Done) -> None:
        """Write again what may be missing; nobody writes until `done` was told."""
        left = list(self._left)

        def after(error: OSError | None) -> None:
            if error is None:
                self._forget(left)
                self._names = False
            done(error)

        self._submit(lambda: self._repair([*left, *([] if disk is None else [disk])]), after)

    def here(self, disk: Disk | None) -> None:
        """Do it all in this thread; raises OSError."""
        left = list(self._left)
        self._repair([*left, *([] if disk is None else [disk])])
        self._forget(left)

    def _repair(self, disks: list[Disk]) -> None:
        for each in disks:
            each.repair()
        sync_folder(self._folder)

    def _forget(self, left: list[Disk]) -> None:
        for each in left:
            each.close()
            self._left.remove(each)

    def _submit(self, work: Callable[[], None], after: Done) -> None:
        self._after = after
        self._job = self._thread.submit(work)
        self._job.add_done_callback(self._hand_over)

    def _hand_over(self, job: "Future[None]") -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and `finish` was not called
            self._loop.call_soon_threadsafe(self._finished, job)

    def _finished(self, job: "Future[None]") -> None:
        if self._job is not job:
            return
        self._job = None
        error = job.exception()
        if error is not None and not isinstance(error, OSError):
            error = OSError(0, f"{type(error).__name__} in the thread of the log")
        self._after(error)

    def finish(self) -> None:
        """Wait for the job under way, and have it say how it ended; no other one can begin."""
        self._thread.shutdown(wait=True)
        if self._job is not None:
            self._finished(self._job)

    def close(self) -> None:
        """Give every descriptor back, whatever is left."""
        for each in self._left:
            each.close()


def _nothing(_error: OSError | None) -> None:
    pass
