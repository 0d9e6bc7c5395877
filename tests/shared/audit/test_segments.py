"""Segments: their names, what compressing makes of them, and reading a line by its place."""

import contextlib
import gzip
import subprocess
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.audit.log import AuditLog
from shared.audit.private import AuditError
from shared.audit.query import Query, Wanted
from shared.audit.segments import (
    BLOCK,
    Blocks,
    Segment,
    born,
    clear_drafts,
    compress,
    lines,
    segment_name,
    segments,
)
from shared.audit.verifying import verify_folder
from tests.helpers.log_lines import chained, records_of
from tests.shared.audit.logs import written

LINES = chained(records_of(1500))


def segment(folder: Path, first: int = 0) -> Path:
    path = folder / segment_name(first)
    path.write_bytes(b"".join(LINES))
    return path


def test_segments_are_in_the_order_of_their_records(tmp_path: Path) -> None:
    names = ["0000000000000012.jsonl", "0000000000000003.jsonl.gz", "0000000000000000.jsonl"]
    for name in [*names, "0000000000000000.jsonl.gz", "1.jsonl", "checkpoints", "x.index"]:
        (tmp_path / name).touch()
    assert [each.path.name for each in segments(tmp_path)] == names[::-1]
    assert [each.compressed for each in segments(tmp_path)] == [False, True, False]
    with pytest.raises(AuditError):
        segments(tmp_path / "nowhere")


def test_compressing_changes_no_byte_and_any_gzip_reads_it(tmp_path: Path) -> None:
    path = segment(tmp_path)
    text = path.read_bytes()
    assert len(text) > 2 * BLOCK
    compress(path)
    target = tmp_path / (path.name + ".gz")
    assert list(tmp_path.iterdir()) == [target]
    assert target.stat().st_mode & 0o777 == 0o600
    assert gzip.decompress(target.read_bytes()) == text
    outside = subprocess.run(["gzip", "-dc", target], check=True, capture_output=True, timeout=30)
    assert outside.stdout == text
    assert list(lines(target)) == LINES
    assert list(lines(path)) == LINES, "it was listed before it was compressed"
    assert born(target) == born(path) == 1_795_000_000_000_000


async def test_one_that_another_program_compressed_is_put_right_as_the_refusal_says(
    tmp_path: Path,
) -> None:
    """Verified it is what was written; a question needs to know where its blocks begin."""
    public = await written(tmp_path / "log", 200, segment_bytes=8_000)
    first, *_ = segments(tmp_path / "log")
    plain = b"".join(lines(first.path))
    first.path.unlink()
    path = tmp_path / "log" / (segment_name(0) + ".gz")
    path.write_bytes(gzip.compress(plain))
    assert verify_folder(path.parent, public).ok
    with Query(path.parent) as query, pytest.raises(AuditError) as refused:
        query.page(Wanted(kind="test"))
    assert str(refused.value).endswith(f"if `audit verify` says ok of it, run gzip -d {path}")
    await anyio.run_process(["gzip", "-d", str(path)])
    with Query(path.parent) as query:
        assert len(query.page(Wanted(kind="test"), limit=300).records) == 200
    AuditLog(path.parent, "test/log").close()  # it has it compressed again
    assert verify_folder(path.parent, public).ok


def test_what_a_killed_writer_had_begun_is_removed(tmp_path: Path) -> None:
    path = segment(tmp_path)
    draft = tmp_path / f".{path.name}.0123abcd"
    draft.touch()
    clear_drafts(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_line_is_found_by_its_place_compressed_or_not(tmp_path: Path) -> None:
    path = segment(tmp_path)
    places, at = [], 0
    for line in LINES:
        places.append((at, line))
        at += len(line)
    for _ in range(2):
        with Blocks(path) as blocks:
            for offset, line in [*places[::97], places[-1], places[0]]:
                assert blocks.line(offset, len(line)) == line
            for number in (0, 1, 700, len(LINES) - 1):
                assert list(blocks.lines_from(places[number][0])) == LINES[number:]
            assert list(blocks.lines_from(at)) == []
        if path.exists():
            compress(path)


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400))
def test_any_bytes_are_a_segment_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, at: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    whole = folder / "0000000000000000.jsonl"
    whole.write_bytes(b"".join(LINES[:3]))
    compress(whole)
    path = folder / (whole.name + ".gz")
    packed = path.read_bytes()
    for text in (data, packed[:at] + data, packed[:at] + data + packed[at:]):
        path.write_bytes(text)
        with contextlib.suppress(AuditError):
            list(lines(path))
        with contextlib.suppress(AuditError), Blocks(path) as blocks:
            list(blocks.lines_from(0))
            blocks.line(10, 10)
    assert Segment(0, path).compressed
