"""The segments of a log: files named by their first record, and compressed when they are closed.

A compressed segment is a gzip file of many members, a block of whole lines in each. Any gzip reads
it; ours knows from the members' heads where a block begins, and reads that block alone.
"""

import contextlib
import gzip
import os
import re
import secrets
import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

from shared.audit.private import AuditError, ForbiddenError, sync_folder
from shared.record.chain import MAX_LINE

BLOCK = 256 * 1024
"""Bytes of a block, lines to spare."""
LEVEL = 2
"""Half of each line are digests, which no level makes smaller."""
_BUFFER = 1024 * 1024
_NAME = re.compile(r"([0-9]{16})\.jsonl(\.gz)?")
_DRAFT = re.compile(r"\.[a-z0-9.-]{1,100}\.[0-9a-f]{8}")
_OF_CLOSING = re.compile(r"\.[0-9]{16}\.(?:jsonl|end|index)\.[0-9a-f]{8}")
_HEAD = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x08\0MT\x04\0"
_HEAD_SIZE = len(_HEAD) + 4
_TIME = re.compile(rb'"time":(\d{1,18}),')


class Segment(NamedTuple):
    """A file of lines, the first of which is record `first`."""

    first: int
    path: Path

    @property
    def compressed(self) -> bool:
        """Is it closed for good?"""
        return self.path.suffix == ".gz"


def segment_name(first: int) -> str:
    """Return the name of the segment that begins with this record."""
    return f"{first:016d}.jsonl"


def segments(folder: Path) -> list[Segment]:
    """Return the segments in order; raises AuditError."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise AuditError(f"cannot read {folder}: {error.strerror}") from None
    found: dict[int, Segment] = {}
    for name in names:
        matched = _NAME.fullmatch(name)
        if matched is not None:
            # Killed between the two, compressing leaves both: the plain one comes first.
            found.setdefault(int(matched[1]), Segment(int(matched[1]), folder / name))
    return [found[first] for first in sorted(found)]


def lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a segment, a torn last one included; raises AuditError."""
    try:
        with _plain_or_compressed(path) as file:
            source = gzip.GzipFile(fileobj=file) if file.name.endswith(".gz") else file
            while line := source.readline(MAX_LINE):
                yield line
    except PermissionError as error:
        raise ForbiddenError(f"cannot read {path}: {_why(error)}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise AuditError(f"cannot read {path}: {_why(error)}") from None


def _plain_or_compressed(path: Path) -> BinaryIO:
    try:
        return path.open("rb", buffering=_BUFFER)
    except FileNotFoundError:
        if path.suffix == ".gz":
            raise
        # It was compressed since it was listed.
        return compressed_path(path).open("rb", buffering=_BUFFER)


def compressed_path(path: Path) -> Path:
    """Return where a plain segment lies once it is compressed."""
    return path.with_name(path.name + ".gz")


def born(path: Path) -> int | None:
    """Return the time of the first record, in microseconds; None when there is none."""
    first = next(lines(path), b"")
    matched = _TIME.search(first)
    return None if matched is None else int(matched[1])


def compress(path: Path) -> None:
    """Put a compressed segment in the place of a plain one; raises OSError. Takes a while."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with path.open("rb") as source, os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
            for block in _blocks(source):
                file.write(member(block))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(compressed_path(path))
        sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    path.unlink()


def clear_drafts(folder: Path, *, of_closing: bool = False) -> None:
    """Remove what somebody who was killed had begun to write; raises OSError.

    `of_closing`: only what closing a segment writes, beside a writer that goes on.
    """
    pattern = _OF_CLOSING if of_closing else _DRAFT
    for path in folder.iterdir():
        if pattern.fullmatch(path.name) is not None:
            path.unlink(missing_ok=True)


def member(block: bytes) -> bytes:
    """Return a block as a member of a gzip file that says how long it is (RFC 1952)."""
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(block) + packer.flush()
    size = _HEAD_SIZE + len(packed) + 8
    tail = struct.pack("<II", zlib.crc32(block), len(block))
    return _HEAD + struct.pack("<I", size) + packed + tail


def _blocks(source: BinaryIO) -> Iterator[bytes]:
    while block := source.read(BLOCK):
        yield block + source.readline(MAX_LINE) if block[-1:] != b"\n" else block


class _Block(NamedTuple):
    start: int
    """Where it begins among the lines."""
    length: int
    at: int
    """Where it begins in the file."""
    size: int


class Blocks:
    """Reads lines of a segment by their offset among the lines; raises AuditError. Close it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._blocks: list[_Block] = []
        self._held: tuple[int, bytes] = (-1, b"")
        try:
            self._file = _plain_or_compressed(path)
        except OSError as error:
            raise AuditError(f"cannot read {path}: {_why(error)}") from None
        try:
            if str(self._file.name).endswith(".gz"):
                self._find()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _find(self) -> None:
        """Walk over the heads of the members; no byte is decompressed."""
        at = start = 0
        file = self._file.fileno()
        end = os.fstat(file).st_size
        while at < end:
            head = os.pread(file, _HEAD_SIZE, at)
            size = int.from_bytes(head[-4:], "little")
            if head[: len(_HEAD)] != _HEAD or size < _HEAD_SIZE + 8 or at + size > end:
                # Any gzip can read it, and `verify` does: it may hold just what was written.
                why = "is not compressed as a log is, so nothing can be looked up in it"
                then = f"if `audit verify` says ok of it, run gzip -d {self._path}"
                raise AuditError(f"{self._path} {why}: {then}")
            length = int.from_bytes(os.pread(file, 4, at + size - 4), "little")
            self._blocks.append(_Block(start, length, at, size))
            at, start = at + size, start + length

    def line(self, offset: int, length: int) -> bytes:
        """Return the line at an offset."""
        if not self._blocks:
            return os.pread(self._file.fileno(), length, offset)
        number = bisect_right(self._blocks, offset, key=lambda each: each.start) - 1
        block = self._blocks[number]
        return self._read(block)[offset - block.start :][:length]

    def lines_from(self, offset: int) -> Iterator[bytes]:
        """Yield the lines from an offset on, where one begins."""
        if not self._blocks:
            self._file.seek(offset)
            yield from iter(lambda: self._file.readline(MAX_LINE), b"")
        for block in self._blocks:
            if block.start + block.length > offset:
                yield from BytesIO(self._read(block)[max(0, offset - block.start) :])

    def _read(self, block: _Block) -> bytes:
        if self._held[0] != block.start:
            try:
                packed = os.pread(self._file.fileno(), block.size, block.at)
                self._held = (block.start, gzip.decompress(packed))
            except (OSError, EOFError, zlib.error) as error:
                raise AuditError(f"cannot read {self._path}: {_why(error)}") from None
        return self._held[1]


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
