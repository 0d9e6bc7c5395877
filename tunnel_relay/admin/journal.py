"""A file for what the store did not take: read again at the next start, before anything is served.

The file has a fixed size from the beginning, so that a disk that is full takes it even so: a line
is written over zeros that are there already. A line is a CRC-32 in hex, a space, JSON, LF; a zero
byte ends the journal. Lines are on the disk before `append` returns.
"""

import json
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunnel_relay.errors import Code, RelayError

RESERVED = 256 * 1024
"""Bytes laid by: about two thousand revocations."""
MAX_BYTES = 16 * 1024 * 1024


class JournalError(Exception):
    """The journal took nothing."""


class Journal:
    """The journal at `path`; every method opens it anew, so that what is there now is used."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[dict[str, Any]]:
        """Return what was written, oldest first; raises RelayError FILE_UNSAFE."""
        try:
            with self._opened(os.O_RDONLY) as file:
                return [line for line, _ in _lines(_content(file))]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RelayError(Code.FILE_UNSAFE, f"cannot read {self._path}: {error}") from error

    def reserve(self) -> bool:
        """Lay the room by; tells whether that worked."""
        try:
            with self._opened(os.O_RDWR | os.O_CREAT) as file:
                if os.fstat(file).st_size < RESERVED:
                    os.posix_fallocate(file, 0, RESERVED)
                    os.fsync(file)
        except OSError:
            return False
        return True

    def append(self, values: dict[str, Any]) -> None:
        """Write a line behind the others, durably; raises JournalError."""
        body = json.dumps(values).encode()
        line = b"%08x %b\n" % (zlib.crc32(body), body)
        try:
            with self._opened(os.O_RDWR | os.O_CREAT) as file:
                end = sum(size for _, size in _lines(_content(file)))
                if end + len(line) >= MAX_BYTES:
                    raise JournalError("it is full")
                _write(file, line + b"\0", end)
        except (OSError, RelayError) as error:
            raise JournalError(str(error)) from error

    def clear(self) -> None:
        """Forget everything, keeping the room; raises JournalError."""
        try:
            with self._opened(os.O_RDWR) as file:
                _write(file, b"\0", 0)
        except FileNotFoundError:
            return
        except (OSError, RelayError) as error:
            raise JournalError(str(error)) from error

    @contextmanager
    def _opened(self, flags: int) -> Iterator[int]:
        file = os.open(self._path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
                raise RelayError(Code.FILE_UNSAFE, f"{self._path} is not the relay's alone")
            if status.st_uid != os.geteuid():
                raise RelayError(Code.FILE_UNSAFE, f"{self._path} belongs to another user")
            yield file
        finally:
            os.close(file)


def _content(file: int) -> bytes:
    return os.pread(file, MAX_BYTES, 0).partition(b"\0")[0]


def _lines(content: bytes) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the good lines and their sizes, up to one that was not finished."""
    for line in content.splitlines(keepends=True):
        crc, _, body = line[:-1].partition(b" ")
        if not line.endswith(b"\n") or crc != b"%08x" % zlib.crc32(body):
            return
        yield json.loads(body), len(line)


def _write(file: int, data: bytes, at: int) -> None:
    if os.pwrite(file, data, at) != len(data):
        raise JournalError("the disk is full")
    os.fsync(file)
