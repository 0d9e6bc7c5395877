"""What lies in the folder of a log, and what its end says after whatever happened."""

import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import jiter
from pydantic import SecretStr

from shared.audit.chain import START, BadLineError, Tree, link, split
from shared.audit.private import AuditError, make_folder, read_private, write_private
from shared.keys import BadKeyError, PrivateKey, encode_public

LOCK_FILE = "lock"
KEY_FILE = "key.pem"
PUBLIC_FILE = "key.pub"
CHECKPOINTS = "checkpoints"
MAX_LINE = 1024 * 1024
"""Bytes of the longest record; what is longer was not written by us."""
CLOSED = ("audit.closed", "audit.changed")
"""Kinds of the last record of a writer that was not killed."""
_SEGMENT = re.compile(r"([0-9]{16})\.jsonl")


@dataclass(slots=True)
class End:
    """Where a log ends: what the next record follows."""

    hash: bytes = START
    tree: Tree = field(default_factory=Tree)
    path: Path | None = None
    offset: int = 0
    open_calls: dict[str, int] = field(default_factory=dict)


def segment_name(first: int) -> str:
    """Return the name of the segment that begins with this record."""
    return f"{first:016d}.jsonl"


def segments(folder: Path) -> list[tuple[int, Path]]:
    """Return the segments by the number of their first record; raises AuditError."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise AuditError(f"cannot read {folder}: {error.strerror}") from None
    found = ((_SEGMENT.fullmatch(name), name) for name in names)
    return [(int(match[1]), folder / name) for match, name in found if match is not None]


def lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a segment, a torn last one included; raises AuditError."""
    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE):
                yield line
    except OSError as error:
        raise AuditError(f"cannot read {path}: {error.strerror}") from None


def read_back(folder: Path) -> End:
    """Follow the chain to its end; raises AuditError where it is broken but for a torn tail.

    What a killed process or machine left half written at the very end was never acted on.
    """
    end, closed = End(), False
    parts = segments(folder)
    for at, (first, path) in enumerate(parts):
        if first != end.tree.size:
            raise AuditError(f"{path} does not follow record {end.tree.size - 1}")
        end.path, end.offset = path, 0
        for line in lines(path):
            try:
                found, record = split(line)
                whole = link(end.hash, record) == found
            except BadLineError:
                whole = False
            if not whole:
                rest = path.stat().st_size - end.offset
                if at + 1 < len(parts) or rest > len(line):
                    raise AuditError(f"record {end.tree.size} of {path} is not what was written")
                break
            end.hash = found
            closed = _follow(end, record)
            end.tree.add(found)
            end.offset += len(line)
    if closed:
        end.open_calls.clear()
    return end


def _follow(end: End, record: bytes) -> bool:
    """Note what a record begins or ends; tells whether its writer closed the log with it."""
    facts = jiter.from_json(record)
    kind = facts.get("kind")
    if kind == "call.intent":
        end.open_calls[facts["call"]] = end.tree.size
    elif kind == "call.completion":
        end.open_calls.pop(facts["call"], None)
    return kind in CLOSED


def read_or_make_key(folder: Path) -> PrivateKey:
    """Return the key that signs checkpoints; made with the log. Raises AuditError."""
    path = folder / KEY_FILE
    try:
        return PrivateKey.from_pem(SecretStr(read_private(path).decode()))
    except FileNotFoundError:
        pass
    except (UnicodeDecodeError, BadKeyError) as error:
        raise AuditError(f"cannot use {path}: {error}") from None
    if segments(folder):
        raise AuditError(f"{path} is gone, and its log is not")
    key = PrivateKey.generate()
    write_private(path, key.to_pem().get_secret_value().encode())
    write_private(folder / PUBLIC_FILE, encode_public(key.public).encode() + b"\n")
    return key


def take(folder: Path) -> int:
    """Make the folder if it is missing, and lock it; returns the lock. Raises AuditError."""
    if not folder.parent.exists():
        make_folder(folder.parent)
    make_folder(folder)
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.open(folder / LOCK_FILE, flags, 0o600)
    except OSError as error:
        raise AuditError(f"cannot use {folder}: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise AuditError(f"another process writes the log in {folder}") from None
    return lock


def write_at(file: int, data: bytes, offset: int) -> None:
    """Write all of it there; raises OSError, and then some of it may be there."""
    left = memoryview(data)
    while left:
        done = os.pwrite(file, left, offset)
        left, offset = left[done:], offset + done


def sync_and_close(file: int) -> None:
    """Wait until a file's bytes are on the disk; raises OSError."""
    try:
        os.fdatasync(file)
    finally:
        os.close(file)
