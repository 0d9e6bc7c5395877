"""Records are removed by two people, with a trace, or not at all."""

import asyncio
import time
from pathlib import Path

import pytest

from shared.audit.log import AuditLog
from shared.audit.private import AuditError
from shared.audit.query import Query, Wanted
from shared.audit.retention import Purged, purge
from shared.audit.segments import segments
from shared.audit.tombstones import FILE, facts_of, kept, read_start, start_of, write_start
from shared.audit.verifying import verify_folder
from shared.record.verify import Start
from tests.helpers.log_lines import ORIGIN, intent, write_calls
from tests.integration.scene import eventually
from tests.shared.audit.test_log import records

LONG_AGO = 86_400.0
"""Records of the helper are of this much in the future; nothing is too young here."""
TWO = ("ada", "eve")


async def opened(folder: Path) -> AuditLog:
    """Return an open log of several segments, all but the last of which are closed for good."""
    log = AuditLog(folder, ORIGIN, segment_bytes=8_000)
    log.write(lambda seq, now: intent(seq, 4_000))
    write_calls(log, 120)
    told: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
    log.durable(log.size - 1, told.set_result)
    assert await told is None
    await eventually(lambda: all(each.compressed for each in segments(folder)[:-1]))
    return log


def before(folder: Path, number: int) -> int:
    """Return the time of a segment's first record."""
    from shared.audit.segments import born

    found = born(segments(folder)[number].path)
    assert found is not None
    return found


async def removed(log: AuditLog, number: int) -> Purged:
    """Remove what is older than the segment of this number."""
    when = before(log.folder, number)
    return await purge(log, when, TWO, keep_seconds=time.time() - when / 1e6)


async def test_two_people_remove_what_is_old_and_the_rest_verifies(tmp_path: Path) -> None:
    """A14: a tombstone that is signed, and a log that goes on over the hole."""
    log = await opened(tmp_path / "log")
    parts = segments(log.folder)
    with Query(log.folder) as query:
        query.page(Wanted(user="nobody"))
    done = await removed(log, 3)
    assert done == Purged(3, parts[3].first)
    assert [each.first for each in segments(log.folder)] == [each.first for each in parts[3:]]
    names = {path.name for path in log.folder.iterdir()}
    gone = [f"{each.first:016d}" for each in parts[:3]]
    assert [name for name in names if name.startswith(tuple(gone))] == []
    write_calls(log, 3, first=900)
    assert await removed(log, 1) == Purged(1, parts[4].first)
    log.close()
    stone = [each for each in records(log.folder) if each["kind"] == "audit.tombstone"]
    assert [each["approvers"] for each in stone] == [["ada", "eve"]] * 2
    assert [each["size"] for each in stone] == [parts[3].first, parts[4].first]
    report = verify_folder(log.folder, log.public)
    assert (report.ok, report.removed, report.signed) == (True, parts[4].first, log.size)
    # And the log can be opened again; the call that began in what was removed has ended since.
    again = AuditLog(log.folder, ORIGIN)
    again.close()
    report = verify_folder(log.folder, log.public)
    assert (report.ok, report.open_intents) == (True, {})


@pytest.mark.parametrize("numbers", [(4, 2), (2, 4), (3, 3)])
async def test_two_who_remove_at_the_same_moment_never_bring_records_back(
    tmp_path: Path, numbers: tuple[int, int]
) -> None:
    """A14: one of them looks while the other one waits for the disk."""
    log = await opened(tmp_path / "log")
    parts = segments(log.folder)
    done = await asyncio.gather(*(removed(log, number) for number in numbers))
    lefts = [parts[numbers[0]].first, parts[max(numbers)].first]
    assert [each.first_left for each in done] == lefts
    assert sum(each.segments for each in done) == max(numbers)
    assert read_start(log.folder).size == segments(log.folder)[0].first == lefts[-1]
    log.close()
    stones = [each["size"] for each in records(log.folder) if each["kind"] == "audit.tombstone"]
    assert stones == sorted(set(lefts))
    AuditLog(log.folder, ORIGIN).close()
    assert verify_folder(log.folder, log.public).ok


async def test_what_a_purge_could_not_remove_goes_with_the_next(tmp_path: Path) -> None:
    log = await opened(tmp_path / "log")
    left = segments(log.folder)[1].path
    kept_back = left.read_bytes()
    done = await removed(log, 3)
    left.write_bytes(kept_back)  # as when removing it failed
    assert await purge(log, 0, TWO, keep_seconds=0) == Purged(1, done.first_left)
    assert not left.exists()
    assert await purge(log, 0, TWO, keep_seconds=0) == Purged(0, done.first_left)
    log.close()
    assert verify_folder(log.folder, log.public).ok


async def test_one_person_is_not_two(tmp_path: Path) -> None:
    """A14."""
    log = await opened(tmp_path / "log")
    for names in (
        (),
        ("ada",),
        ("ada", "ADA "),
        ("ada", ""),
        ("ada", "e\x1bve"),
        ("ada", "e" * 999),
    ):
        with pytest.raises(AuditError):
            await purge(log, before(log.folder, 2), names, keep_seconds=LONG_AGO)
    log.close()
    assert "audit.tombstone" not in [each["kind"] for each in records(log.folder)]
    assert segments(log.folder)[0].first == 0


async def test_what_is_young_stays_whoever_asks(tmp_path: Path) -> None:
    """A14: and the segment that is written stays however old it is."""
    log = await opened(tmp_path / "log")
    with pytest.raises(AuditError, match="kept for 400 days"):
        await purge(log, int(time.time() * 1e6), TWO, keep_seconds=400 * 86400.0)
    assert await purge(log, 5, TWO, keep_seconds=LONG_AGO) == Purged(0, 0)
    far = 2**60
    done = await purge(log, far, TWO, keep_seconds=time.time() - far / 1e6)
    assert done.segments == len(segments(log.folder)) + done.segments - 1
    assert len(segments(log.folder)) == 1
    log.close()
    assert verify_folder(log.folder, log.public).ok


async def test_segments_that_are_simply_deleted_are_missed(tmp_path: Path) -> None:
    """A14: without a tombstone, with a forged one, and with one that no record confirms."""
    log = await opened(tmp_path / "log")
    log.close()
    parts = segments(log.folder)
    for part in parts[:2]:
        part.path.unlink()
    report = verify_folder(log.folder, log.public)
    assert (report.ok, report.first_bad) == (False, 0)
    end = log.folder / f"{parts[1].first:016d}.end"
    (log.folder / FILE).write_text(end.read_text())
    (log.folder / FILE).chmod(0o600)
    assert read_start(log.folder).size == parts[2].first
    report = verify_folder(log.folder, log.public)
    assert (report.ok, report.first_bad) == (False, 0)
    assert "without a tombstone" in str(report.reason)


async def test_a_purge_that_was_killed_is_a_log_all_the_same(tmp_path: Path) -> None:
    log = await opened(tmp_path / "log")
    parts = segments(log.folder)
    held = [(each.path, each.path.read_bytes()) for each in parts[:3]]
    await removed(log, 3)
    log.close()
    for path, content in held[1:]:
        path.write_bytes(content)
    assert verify_folder(log.folder, log.public).ok
    again = AuditLog(log.folder, ORIGIN)
    again.close()
    assert verify_folder(log.folder, log.public).ok
    with Query(log.folder) as query:
        first = query.page(Wanted(), limit=1).records[0]["seq"]
    assert first == kept(log.folder)[0].size == parts[3].first


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", "null", '{"size":1}', '{"size":1,"hash":"00","edge":[]}'),
        '{"size":1,"hash":"' + "0" * 64 + '","edge":["zz"]}',
        '{"size":true,"hash":"' + "0" * 64 + '","edge":[]}',
        '{"size":3,"hash":"' + "0" * 64 + '","edge":[1]}',
    ],
)
def test_a_tombstone_that_says_nothing_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).touch(mode=0o600)
    (tmp_path / FILE).write_text(text)
    with pytest.raises(AuditError):
        read_start(tmp_path)


def test_a_place_in_a_log_is_read_as_it_was_written(tmp_path: Path) -> None:
    start = Start(5, bytes(range(32)), (bytes(32), bytes(32)))
    assert start_of(facts_of(start)) == start
    assert read_start(tmp_path) == Start()


def test_a_log_never_begins_earlier_again(tmp_path: Path) -> None:
    later, earlier = Start(4, bytes(32), (bytes(32),)), Start(2, bytes(32), (bytes(32),))
    write_start(tmp_path, later)
    with pytest.raises(AuditError, match="below 4 were removed already"):
        write_start(tmp_path, earlier)
    assert read_start(tmp_path) == later
