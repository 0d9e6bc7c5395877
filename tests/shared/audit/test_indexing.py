"""Closed segments have their indexes before anybody asks, made by a process that nothing needs."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from shared.audit import closing
from shared.audit.indexing import VERSION, index_path, make, without
from shared.audit.log import AuditLog
from shared.audit.query import Query, Wanted
from shared.audit.segments import Segment, compress, segments
from tests.helpers.log_lines import ORIGIN, write_calls, written
from tests.integration.scene import eventually
from tests.shared.audit.test_log import records

CALLS = 12_000
"""Of which the log is several MiB, so that a process is worth it."""


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests run beside others: the process would wait for a processor that is never idle."""
    monkeypatch.setattr(closing, "PATIENT", -1)


def asked(folder: Path) -> list[int]:
    with Query(folder) as query:
        return [each["seq"] for each in query.page(Wanted(agent="helper"), limit=10_000).records]


async def test_a_writer_has_the_indexes_of_closed_segments_made(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "log", ORIGIN, segment_bytes=2 << 20)
    write_calls(log, CALLS)
    told: list[str | None] = []
    log.durable(log.size - 1, told.append)
    closed = segments(log.folder)[:-1]
    assert len(closed) > 1
    await eventually(lambda: all(index_path(log.folder, each.first).exists() for each in closed))
    await eventually(lambda: not without(log.folder))
    made = {path.name: path.stat() for path in log.folder.glob("*.index")}
    assert {stat.st_mode & 0o777 for stat in made.values()} == {0o600}
    log.close()
    answer = asked(log.folder)
    for name, stat in made.items():
        now = (log.folder / name).stat()
        assert (now.st_ino, now.st_mtime_ns) == (stat.st_ino, stat.st_mtime_ns), "it was used"
    for path in log.folder.glob("*.index"):
        path.unlink()
    assert asked(log.folder) == answer
    assert not list(log.folder.glob(".*")), "nothing half made lies there"


async def test_what_was_not_made_is_made_at_the_next_start(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "log", ORIGIN, segment_bytes=2 << 20)
    write_calls(log, CALLS)
    log.close()
    first = segments(log.folder)[0].first
    for path in log.folder.glob("*.index"):
        path.unlink()
    again = AuditLog(log.folder, ORIGIN, segment_bytes=2 << 20)
    await eventually(index_path(log.folder, first).exists)
    again.close()


def of_version(path: Path, version: int) -> None:
    """Have an index say that it is of this version."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {version}")


async def test_those_of_an_older_version_are_made_anew_at_the_next_start(tmp_path: Path) -> None:
    """By the process, not by whoever asks first."""
    log = AuditLog(tmp_path / "log", ORIGIN, segment_bytes=2 << 20)
    write_calls(log, CALLS)
    await eventually(lambda: all(each.compressed for each in segments(log.folder)[:-1]))
    await eventually(lambda: not without(log.folder))
    log.close()
    closed = [each for each in segments(log.folder) if each.compressed]
    assert len(closed) > 1
    for version in (VERSION - 1, VERSION + 1, 0):
        of_version(index_path(log.folder, closed[0].first), version)
        assert without(log.folder) == closed[:1]
    for each in closed:
        of_version(index_path(log.folder, each.first), VERSION - 1)
    assert without(log.folder) == closed
    again = AuditLog(log.folder, ORIGIN, segment_bytes=2 << 20)
    await eventually(lambda: not without(log.folder))
    again.close()


async def compressed(folder: Path) -> AuditLog:
    """Write a log of some segments, of which all but the last are compressed."""
    log = await written(folder, 60, segment_bytes=8_000)
    for each in segments(log.folder)[:-1]:
        if not each.compressed:
            compress(each.path)
    return log


async def test_one_that_cannot_be_made_is_tried_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts as missing still, and the process would never end."""
    log = await compressed(tmp_path / "log")
    for path in log.folder.glob("*.index"):
        path.unlink()
    missing, tried = without(log.folder), []

    def nothing(_query: Query, segment: Segment, where: Path) -> None:
        tried.append(segment)
        where.touch()

    monkeypatch.setattr(Query, "make_index", nothing)
    make(log.folder)
    assert tried == missing != []
    assert without(log.folder) == missing


async def test_nothing_is_left_of_a_segment_that_is_removed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await compressed(tmp_path / "log")
    first, *_ = without(log.folder)
    real = Query.make_index

    def removed(query: Query, segment: Segment, where: Path) -> None:
        real(query, segment, where)
        if segment == first:
            segment.path.unlink()

    monkeypatch.setattr(Query, "make_index", removed)
    make(log.folder)
    assert not index_path(log.folder, first.first).exists()
    assert without(log.folder) == []
    assert len(list(log.folder.glob("*.index"))) == len(segments(log.folder)) - 1


async def test_an_index_says_the_same_of_records_spelled_in_another_way(tmp_path: Path) -> None:
    """What is matched quickly and what is parsed are found alike."""
    log = await written(tmp_path / "log", 5)
    last = segments(log.folder)[-1]
    answer = asked(log.folder)
    index_path(log.folder, last.first).unlink()
    text = last.path.read_bytes().replace(b'"kind":"call', b' "kind": "call')
    last.path.write_bytes(text)
    assert asked(log.folder) == answer
    assert len(records(log.folder)) > 5
