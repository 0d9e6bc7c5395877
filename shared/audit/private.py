"""Folders and files that only this user may use: checked before they are believed."""

import contextlib
import fcntl
import os
import secrets
import stat
from pathlib import Path

from shared import ours

MAX_BYTES = 1024 * 1024
"""Bytes of the largest of the small files beside a log."""


class AuditError(Exception):
    """The log cannot be written or read; says why, for operators."""


class ForbiddenError(AuditError):
    """This user may not read it, so nothing is known of what it says."""


def make_folder(path: Path) -> None:
    """Make a folder only we can enter, or check the one that is there; raises AuditError.

    Folders above it that are missing are made for us alone as well: one is a program's state.
    """
    try:
        for each in reversed([path, *path.parents]):
            if not each.is_dir():
                each.mkdir(mode=0o700, exist_ok=True)
        facts = path.stat()
    except OSError as error:
        raise AuditError(f"cannot use {path}: {error.strerror}") from None
    if not stat.S_ISDIR(facts.st_mode):
        raise AuditError(f"{path} is not a folder")
    _check(path, facts)


def lock_folder(folder: Path, name: str) -> int:
    """Make the folder if it is missing, and lock it; returns the lock. Raises AuditError."""
    make_folder(folder)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        lock = os.open(folder / name, flags, 0o600)
    except OSError as error:
        raise AuditError(f"cannot use {folder}: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise AuditError(f"another process writes the log in {folder}") from None
    return lock


def read_private(path: Path) -> bytes:
    """Return the bytes of a small file that is ours alone; raises AuditError, FileNotFoundError."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise AuditError(f"{path} is not a regular file")
            _check(path, facts)
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise AuditError(f"cannot read {path}: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise AuditError(f"{path} is too large")
    return content


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600, whole or not at all, on the disk; raises AuditError."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
            ours.give(file.fileno())
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise AuditError(f"cannot write {path}: {error.strerror}") from None


def sync_folder(path: Path) -> None:
    """Have the names in a folder on the disk; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check(path: Path, facts: os.stat_result) -> None:
    if facts.st_uid not in ours.owners():
        raise AuditError(f"{path} belongs to another user")
    if facts.st_mode & 0o077:
        raise AuditError(f"{path} is open to others (mode {stat.S_IMODE(facts.st_mode):04o})")
