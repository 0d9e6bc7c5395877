"""One segment on its way to the disk.

Bytes go to an offset that is known, so what was torn is written over; what may not be on the disk
yet is kept, because a kernel may drop pages that it could not write, and say so only once.
"""

import os
from pathlib import Path

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Disk:
    """A segment that is written; its methods raise OSError."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        """Open it, made if it is missing, and cut off what is behind the offset."""
        self.path = path
        self.offset = offset
        self.unsynced = 0
        """Bytes that may not be on the disk."""
        self._held: list[tuple[int, bytes]] = []
        self._file = -1
        self._open()

    def _open(self) -> None:
        self._file = os.open(self.path, _FLAGS, 0o600)
        if os.fstat(self._file).st_size != self.offset:
            os.ftruncate(self._file, self.offset)

    def write(self, data: bytes) -> None:
        """Write all of it behind what is there, or nothing that counts."""
        done = os.pwrite(self._file, data, self.offset)
        if done < len(data):
            _write_at(self._file, data[done:], self.offset + done)
        self._held.append((self.offset, data))
        self.offset += len(data)
        self.unsynced += len(data)

    def taken(self) -> tuple[int, list[tuple[int, bytes]]]:
        """Return a descriptor to sync and close, and what it will have put on the disk."""
        file = os.dup(self._file)
        held, self._held = self._held, []
        return file, held

    def synced(self, held: list[tuple[int, bytes]]) -> None:
        """It is on the disk."""
        self.unsynced -= sum(len(data) for _, data in held)

    def unsure(self, held: list[tuple[int, bytes]]) -> None:
        """Nobody knows whether it is."""
        self._held = [*held, *self._held]

    def repair(self) -> None:
        """Write again what may be missing, and wait until it is on the disk."""
        self.close()
        self._open_as_it_is()
        for offset, data in self._held:
            _write_at(self._file, data, offset)
        os.ftruncate(self._file, self.offset)
        os.fdatasync(self._file)
        self._held, self.unsynced = [], 0

    def _open_as_it_is(self) -> None:
        self._file = os.open(self.path, _FLAGS, 0o600)

    def sync(self) -> None:
        """Wait until it is on the disk."""
        os.fdatasync(self._file)
        self._held, self.unsynced = [], 0

    def settle(self) -> None:
        """Wait until it is on the disk, by a description of its own; what is kept is kept.

        An error is said once to each description: a thread that waits by the other must hear it.
        """
        file = os.open(self.path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fdatasync(file)
        finally:
            os.close(file)

    def close(self) -> None:
        """Give the descriptor back."""
        if self._file >= 0:
            file, self._file = self._file, -1
            os.close(file)


def sync_and_close(files: list[int]) -> None:
    """Wait until the bytes of files are on the disk; closes them all. In a thread."""
    try:
        for file in files:
            os.fdatasync(file)
    finally:
        for file in files:
            os.close(file)


def _write_at(file: int, data: bytes, offset: int) -> None:
    left = memoryview(data)
    while left:
        done = os.pwrite(file, left, offset)
        left, offset = left[done:], offset + done
