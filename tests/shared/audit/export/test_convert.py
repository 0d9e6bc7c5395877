"""A folder is spelled from end to end, or it is said what is not there."""

import json
from pathlib import Path
from typing import Any

import pytest

from shared.audit.export.convert import converted
from shared.audit.export.reader import Reader
from shared.audit.log import AuditLog
from shared.audit.private import AuditError
from shared.audit.segments import lines, segment_name, segments
from shared.record.export.names import Format
from tests.helpers.log_lines import write_calls, written
from tests.shared.audit.test_retention import opened, removed


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    await written(tmp_path / "log", 120, segment_bytes=8_000)
    return tmp_path / "log"


def said(folder: Path, first: int = 0, last: int | None = None) -> list[Any]:
    return [_of(json.loads(line)) for line in converted(folder, "jsonl", first, last)]


def _of(line: dict[str, Any]) -> Any:
    """Return the number of a record, or from where to where there is none."""
    return line["record"]["seq"] if "record" in line else tuple(line["export"].values())


async def test_what_was_removed_is_said_however_much_was_asked_for(tmp_path: Path) -> None:
    """A14: also when nothing is left of it."""
    log = await opened(tmp_path / "log")
    assert said(log.folder) == list(range(log.size))
    left = (await removed(log, 3)).first_left
    log.close()
    assert said(log.folder, 0, 7) == [(0, 7)]
    assert said(log.folder, 5, left - 1) == [(5, left - 1)]
    assert said(log.folder, 5, left + 1) == [(5, left - 1), left, left + 1]
    assert said(log.folder, left, left) == [left]
    assert said(log.folder) == [(0, left - 1), *range(left, log.size)]
    assert said(log.folder, 7, 5) == said(log.folder, log.size) == []
    assert len(list(converted(log.folder, "cef", 0, 7))) == 1
    assert list(converted(log.folder, "otlp", 0, 7)) == [], "it has no word for it"


@pytest.mark.parametrize("spelling", ["jsonl", "ocsf"])
@pytest.mark.parametrize("by", [-1, 1, 40])
def test_a_segment_with_the_name_of_another_record_is_not_the_end(
    folder: Path, spelling: Format, by: int
) -> None:
    part = segments(folder)[2]
    part.path.rename(folder / (segment_name(part.first + by) + ".gz" * part.compressed))
    with pytest.raises(AuditError, match=f"record {part.first} is not where .*audit verify"):
        list(converted(folder, spelling, 0, None))
    with pytest.raises(AuditError, match="is not where it should be"):
        list(converted(folder, spelling, part.first + 5, None))
    assert list(converted(folder, spelling, 0, part.first - 1))


def test_what_is_gone_without_a_tombstone_is_not_the_end(folder: Path) -> None:
    """A04: at the beginning, in the middle, and behind a segment that was put there."""
    first, *_, gone, _ = segments(folder)
    held = gone.path.read_bytes()
    gone.path.unlink()
    for start in (0, gone.first, gone.first + 1):
        with pytest.raises(AuditError, match=f"record {max(start, gone.first)} is not where"):
            said(folder, start)
    gone.path.write_bytes(held)
    (folder / segment_name(5)).touch()
    with pytest.raises(AuditError, match="record 9 is not where"):
        said(folder, 9)
    (folder / segment_name(5)).unlink()
    first.path.unlink()
    with pytest.raises(AuditError, match="record 0 is not where"):
        said(folder, 0, 3)


def test_a_line_that_is_none_is_spelled_as_that(folder: Path) -> None:
    part = segments(folder)[-1]
    found = list(lines(part.path))
    part.path.write_bytes(b"no line\n" + b"".join(found[1:]))
    spelled = list(converted(folder, "jsonl", part.first, None))
    assert json.loads(spelled[0]) == {"export": {"unreadable": part.first}}
    assert len(spelled) == len(found)


async def test_what_is_written_meanwhile_is_no_hole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next segments are there between the last look and the list of them."""
    log = AuditLog(tmp_path / "log", "test/log", segment_bytes=8_000)
    write_calls(log, 3)
    known, read = log.size, Reader.read

    def meanwhile(reader: Reader, first: int, end: int, most: int) -> Any:
        batch = read(reader, first, end, most)
        if not batch.lines and log.size == known:
            for number in range(20):
                write_calls(log, 5, first=3 + 5 * number)
        return batch

    monkeypatch.setattr(Reader, "read", meanwhile)
    assert said(log.folder) == list(range(log.size))
    assert len(segments(log.folder)) > 2
    log.close()
