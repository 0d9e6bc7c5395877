"""A log is read on while it grows, is compressed and loses its oldest segments."""

import gzip
from contextlib import closing
from pathlib import Path

from shared.audit.export.reader import Batch, Reader
from shared.audit.segments import Segment, compress, segments
from tests.helpers.log_lines import written


def all_lines(folder: Path) -> list[bytes]:
    reader = Reader(folder)
    found: list[bytes] = []
    while (batch := reader.read(len(found), 1 << 40, 7)).lines:
        assert batch.first == len(found)
        found += batch.lines
    reader.close()
    return found


def plain(folder: Path) -> list[bytes]:
    return [line for part in segments(folder) for line in part.path.read_bytes().splitlines(True)]


def unpacked(part: Segment) -> None:
    """Let a segment be one that nobody compressed yet."""
    if part.compressed:
        part.path.with_suffix("").write_bytes(gzip.decompress(part.path.read_bytes()))
        part.path.unlink()


async def test_every_line_comes_once_over_plain_and_compressed_segments(tmp_path: Path) -> None:
    await written(tmp_path, 40, segment_bytes=4096)
    for part in segments(tmp_path):
        unpacked(part)
    lines = plain(tmp_path)
    assert len(segments(tmp_path)) > 3
    assert all_lines(tmp_path) == lines
    with closing(Reader(tmp_path)) as reader:
        first = reader.read(0, 1 << 40, 3)
        for part in segments(tmp_path)[:-1]:
            compress(part.path)
        # The file it holds is gone by name; it reads on, and finds the next ones compressed.
        rest = reader.read(3, 1 << 40, 1000)
    assert first.lines + rest.lines == lines[: 3 + len(rest.lines)]
    assert all_lines(tmp_path) == lines


async def test_nothing_is_read_beyond_what_the_writer_vouches_for(tmp_path: Path) -> None:
    await written(tmp_path, 4)
    lines = plain(tmp_path)
    with segments(tmp_path)[-1].path.open("ab") as file:
        file.write(b'{"hash":"torn')
    with closing(Reader(tmp_path)) as reader:
        assert reader.read(0, 3, 100).lines == lines[:3]
        assert reader.read(3, 3, 100).lines == []
        assert reader.read(3, 1 << 40, 100).lines == lines[3:]
        assert reader.read(len(lines), 1 << 40, 100).lines == []


async def test_what_was_removed_is_seen_by_where_the_lines_begin(tmp_path: Path) -> None:
    await written(tmp_path, 40, segment_bytes=4096)
    parts = segments(tmp_path)
    for part in parts[:2]:
        part.path.unlink()
    with closing(Reader(tmp_path)) as reader:
        batch = reader.read(1, 1 << 40, 5)
    assert batch.first == parts[2].first
    assert b'"seq":%d,' % batch.first in batch.lines[0]


async def test_nothing_is_read_where_all_that_was_asked_for_was_removed(tmp_path: Path) -> None:
    await written(tmp_path, 40, segment_bytes=4096)
    parts = segments(tmp_path)
    removed, left = parts[:2], parts[2]
    for part in removed:
        part.path.unlink()
    unpacked(left)
    with closing(Reader(tmp_path)) as reader:
        assert reader.read(0, left.first - 9, 100) == Batch(left.first, [])
        # It reads on from there all the same.
        (line,) = reader.read(left.first, left.first + 1, 100).lines
    assert b'"seq":%d,' % left.first in line


async def test_nothing_is_read_beyond_the_end_when_records_go_while_one_reads(
    tmp_path: Path,
) -> None:
    await written(tmp_path, 40, segment_bytes=4096)
    parts = segments(tmp_path)
    unpacked(parts[2])
    with closing(Reader(tmp_path)) as reader:
        assert len(reader.read(0, parts[1].first, 1000).lines) == parts[1].first
        for part in parts[:2]:
            part.path.unlink()
        assert reader.read(parts[1].first, parts[2].first - 1, 1000).lines == []
