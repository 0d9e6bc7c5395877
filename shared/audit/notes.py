"""The file of checkpoints beside the segments."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from shared.audit.private import AuditError
from shared.record.checkpoint import Checkpoint, CheckpointError, notes_of, read_note

CHECKPOINTS = "checkpoints"
RELAY_ORIGIN = "mcp-tunnel/relay/"
CLIENT_ORIGIN = "mcp-tunnel/client/"
"""How the origin of a log begins, by the program that writes it."""
_END = 32 * 1024
"""Bytes at the end of the file among which the newest note is: some notes long."""


def append_note(folder: Path, note: str, *, sync: bool = False) -> None:
    """Add a note, whole or not at all; raises OSError."""
    text = note.encode()
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(folder / CHECKPOINTS, flags, 0o600)
    try:
        size = os.fstat(file).st_size
        if os.write(file, text) != len(text):
            os.ftruncate(file, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if sync:
            os.fsync(file)
    finally:
        os.close(file)


def read_text(folder: Path) -> str:
    """Return the whole file, "" when there is none; raises AuditError."""
    path = folder / CHECKPOINTS
    try:
        return path.read_bytes().decode(errors="replace") if path.exists() else ""
    except OSError as error:
        raise AuditError(f"cannot read {path}: {error.strerror}") from None


def origin(folder: Path) -> str:
    """Return whose log a folder holds, as its checkpoints say, "" without any; not verified."""
    try:
        with (folder / CHECKPOINTS).open(encoding="utf-8", errors="replace") as file:
            return file.readline(1024).strip()
    except OSError:
        return ""


def last_note(folder: Path) -> str | None:
    """Return the newest note, None when nothing is signed yet; raises AuditError."""
    return _newest(folder)[0]


def _newest(folder: Path) -> tuple[str | None, int]:
    """Return the newest note, and where in the file it ends; raises AuditError.

    Only the end of the file is read: it has a note for every few seconds of a log's life.
    """
    for most in (_END, sys.maxsize):
        begin, text = _end(folder / CHECKPOINTS, most)
        notes = list(notes_of(text))
        if not begin or len(notes) > 1:  # the first may be without its beginning
            break
    return notes[-1] if notes else None, begin + sum(len(note.encode()) for note in notes)


def _end(path: Path, most: int) -> tuple[int, str]:
    """Return where the lines at the end of the file begin, and those; raises AuditError."""
    try:
        with path.open("rb") as file:
            begin = max(0, file.seek(0, os.SEEK_END) - most)
            file.seek(begin)
            if begin:
                begin += len(file.readline())
            return begin, file.read().decode(errors="replace")
    except FileNotFoundError:
        return 0, ""
    except OSError as error:
        raise AuditError(f"cannot read {path}: {error.strerror}") from None


def cut_torn(folder: Path) -> None:
    """Take away half a note that a killed writer left; raises AuditError."""
    whole = _newest(folder)[1]
    path = folder / CHECKPOINTS
    with contextlib.suppress(FileNotFoundError):
        try:
            if path.stat().st_size > whole:
                os.truncate(path, whole)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise AuditError(f"cannot write {path}: {error.strerror}") from None


def read_points(notes: Iterable[str], public: bytes) -> tuple[list[Checkpoint], str | None]:
    """Return what was signed; the second is why a note is none that this key signed."""
    points = []
    for note in notes:
        try:
            points.append(read_note(note, public))
        except CheckpointError as error:
            return points, str(error)
    return points, None
