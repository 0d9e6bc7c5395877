"""Reads a log on and on, while it grows, is compressed and loses its oldest segments.

For a thread beside the writer: nothing is read that the writer does not say is on the disk.
"""

import contextlib
import gzip
import os
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

from shared.audit.private import AuditError
from shared.audit.segments import Segment, segments
from shared.record.chain import MAX_LINE

CHUNK = 256 * 1024


class Batch(NamedTuple):
    """Lines that follow each other, the first of which is record `first`."""

    first: int
    lines: list[bytes]


class Reader:
    """Remembers where it is, so that reading on costs what is new."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: BinaryIO | None = None
        self._packed: gzip.GzipFile | None = None
        self._at = -1
        """Number of the record that is read next."""
        self._offset = 0
        """Where it begins in a plain segment."""

    def close(self) -> None:
        """Let go of the file."""
        for each in (self._packed, self._file):
            if each is not None:
                each.close()
        self._file = self._packed = None
        self._at = -1

    def read(self, first: int, end: int, most: int) -> Batch:
        """Return lines from `first` on and below `end`; raises AuditError.

        It begins later when the first ones were removed. Empty: there is nothing to read (yet).
        """
        if first >= end:
            return Batch(first, [])
        if self._at != first:
            first = self._seek(first)
        try:
            lines = self._below(first, end, most)
            if not lines and first < end:
                # The end of a segment: the next one begins with just this record.
                first = self._seek(first)
                lines = self._below(first, end, most)
        except (OSError, EOFError, zlib.error) as error:
            self.close()
            why = getattr(error, "strerror", None) or type(error).__name__
            raise AuditError(f"the log cannot be read: {why}") from None
        self._at = first + len(lines)
        return Batch(first, lines)

    def _below(self, first: int, end: int, most: int) -> list[bytes]:
        """Return lines from here on; none when what was removed reached to the end or beyond."""
        return self._lines(min(most, end - first)) if first < end else []

    def _seek(self, first: int) -> int:
        """Go to a record, or to the oldest one when it is gone; returns which it is."""
        self.close()
        parts = segments(self._folder)
        if not parts:
            raise AuditError(f"no log in {self._folder}")
        below = [each for each in parts if each.first <= first]
        segment = below[-1] if below else parts[0]
        try:
            self._open(segment)
            at = segment.first
            while at < first:
                found = len(self._lines(min(first - at, 1000)))
                at += found
                if not found:
                    break
        except (OSError, EOFError, zlib.error) as error:
            self.close()
            why = getattr(error, "strerror", None) or type(error).__name__
            raise AuditError(f"the log cannot be read: {why}") from None
        if at < first:
            later = [each.first for each in parts if each.first > at]
            if later:
                return self._seek(later[0])
            at = first  # not there yet
        self._at = at
        return at

    def _open(self, segment: Segment) -> None:
        path = segment.path
        if not segment.compressed:
            with contextlib.suppress(FileNotFoundError):
                self._file = path.open("rb", buffering=0)
                self._offset = 0
                return
            # It was compressed since it was listed.
            path = path.with_name(path.name + ".gz")
        self._file = path.open("rb")
        self._packed = gzip.GzipFile(fileobj=self._file)

    def _lines(self, most: int) -> list[bytes]:
        """Return so many whole lines at most, no more than a chunk holds; empty at the end."""
        if self._packed is not None:
            found: list[bytes] = []
            size = 0
            while len(found) < most and size < CHUNK and (line := self._packed.readline(MAX_LINE)):
                found.append(line)
                size += len(line)
            return found
        if self._file is None:
            return []
        # Not through a buffer: what lies behind the records that are on the disk may be written
        # over by others.
        data = os.pread(self._file.fileno(), CHUNK, self._offset)
        if b"\n" not in data and len(data) == CHUNK:
            data = os.pread(self._file.fileno(), MAX_LINE, self._offset)
        lines = data[: data.rfind(b"\n") + 1].split(b"\n")[:-1][:most]
        self._offset += sum(map(len, lines)) + len(lines)
        return [line + b"\n" for line in lines]
