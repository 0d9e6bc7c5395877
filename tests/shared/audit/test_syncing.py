"""Disks that fail, real ones: what a log refuses meanwhile, and what it owes."""

import asyncio
import contextlib
import os
import resource
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.audit import log as log_module
from shared.audit import syncing
from shared.audit.log import AuditLog
from shared.audit.private import AuditError, sync_folder
from shared.audit.segments import segments
from shared.audit.verifying import verify_folder
from tests.helpers.disks import (
    ext4_disk,
    fill,
    forget,
    mounted,
    small_disk,
    starved_disk,
    turn_read_only,
)
from tests.helpers.log_lines import ORIGIN, intent, write_calls
from tests.integration.scene import eventually
from tests.shared.audit.test_log import kinds, on_disk, records


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as disk:
        yield disk


async def fails(log: AuditLog) -> None:
    """Write until nothing more goes in: the last block of a file has room for a few records."""
    with pytest.raises(AuditError) as caught:
        write_until_refused(log)
    assert str(caught.value) == log.failing


def write_until_refused(log: AuditLog) -> None:
    for number in range(10**6, 2 * 10**6):
        log.write(lambda seq, now, number=number: intent(seq, number))  # type: ignore[misc]


async def test_a_full_disk_refuses_and_recovers_without_a_gap(small: Path) -> None:
    """A08: nothing is written half; what is owed comes first, then how long it was."""
    log = AuditLog(small / "log", ORIGIN)
    write_calls(log, 10)
    assert await on_disk(log) is None
    filler = fill(small)
    await fails(log)
    assert "No space left" in str(log.failing)
    before = log.size
    with pytest.raises(AuditError, match="No space left"):
        log.write(lambda seq, now: intent(seq, 99))
    assert await on_disk(log, before) == log.failing
    owed = [log.add("link.down", {"n": number}) for number in range(3)]
    assert owed == [before, before + 1, before + 2]
    assert log.flush() == log.failing
    log.count_refused()
    filler.unlink()
    await eventually(lambda: log.failing is None)
    assert await on_disk(log) is None
    write_calls(log, 5, first=500)
    log.close()
    found = records(log.folder)
    assert [each["seq"] for each in found] == list(range(log.size))
    assert [each["kind"] for each in found[before : before + 4]] == [
        *["link.down"] * 3,
        "audit.gap",
    ]
    gap = found[before + 3]
    assert (gap["refused"], gap["lost"]) == (3, 0)
    assert gap["began"] <= gap["ended"] <= gap["time"]
    assert "No space left" in gap["why"]
    assert b"%d" % 99 not in [each["call"].encode()[-2:] for each in found if "call" in each]
    assert verify_folder(log.folder, log.public).ok


async def test_a_disk_that_stays_full_costs_bounded_memory(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A08: what no longer fits into memory is counted, and the count is a record."""
    monkeypatch.setattr(log_module, "MAX_OWED", 10_000)
    log = AuditLog(small / "log", ORIGIN)
    write_calls(log, 1)
    filler = fill(small)
    await fails(log)
    for number in range(1000):
        log.add("link.down", {"n": number})
    filler.unlink()
    await eventually(lambda: log.failing is None)
    log.close()
    found = records(log.folder)
    (gap,) = [each for each in found if each["kind"] == "audit.gap"]
    written_down = len([each for each in found if each["kind"] == "link.down"])
    assert 0 < written_down < 1000
    assert gap["lost"] == 1000 - written_down
    assert verify_folder(log.folder, log.public).ok


async def test_closing_on_a_full_disk_says_so(small: Path) -> None:
    """A08: and what was written before is a log."""
    log = AuditLog(small / "log", ORIGIN)
    write_calls(log, 10)
    await on_disk(log)
    filler = fill(small)
    await fails(log)
    assert "No space left" in str(log.close())
    filler.unlink()
    assert verify_folder(log.folder, log.public).ok
    again = AuditLog(log.folder, ORIGIN)
    again.close()
    assert "audit.recovered" in kinds(log.folder)
    assert verify_folder(log.folder, log.public).ok


async def test_rotation_on_a_full_disk_waits(small: Path) -> None:
    """A08: a new segment that cannot be made is made later."""
    log = AuditLog(small / "log", ORIGIN, segment_bytes=3_000)
    write_calls(log, 20)
    await on_disk(log)
    filler = fill(small)
    await fails(log)
    filler.unlink()
    await eventually(lambda: log.failing is None)
    write_calls(log, 20, first=300)
    log.close()
    assert verify_folder(log.folder, log.public).ok
    assert [each["seq"] for each in records(log.folder)] == list(range(log.size))


async def test_a_disk_that_loses_what_it_took_is_found_and_written_again(tmp_path: Path) -> None:
    """A08: an error of fdatasync, from a real device that has no space below it."""
    with starved_disk(tmp_path) as (disk, below):
        log = AuditLog(disk / "log", ORIGIN)
        write_calls(log, 10)
        assert await on_disk(log) is None
        filler = fill(below)
        told = None
        for number in range(100, 4000):
            write_calls(log, 1, first=number)
            told = await on_disk(log)
            if told is not None:
                break
        assert told is not None
        assert told == log.failing
        with pytest.raises(AuditError):
            log.write(lambda seq, now: intent(seq, 99))
        filler.unlink()
        await eventually(lambda: log.failing is None)
        assert await on_disk(log) is None
        log.close()
        forget(log.folder)
        assert "audit.gap" in kinds(log.folder)
        report = verify_folder(log.folder, log.public)
        assert (report.ok, report.signed) == (True, log.size)


async def test_a_disk_that_turned_read_only_refuses(tmp_path: Path) -> None:
    """A08: as a kernel does it after an error, while the log is open; and before it is."""
    with ext4_disk(tmp_path / "image", tmp_path / "disk") as disk:
        log = AuditLog(disk / "log", ORIGIN)
        write_calls(log, 10)
        assert await on_disk(log) is None
        turn_read_only(disk)
        await fails(log)
        assert "Read-only" in str(log.failing)
        assert await on_disk(log, log.size) == log.failing
        assert verify_folder(log.folder, log.public).ok
        assert log.close() is not None
        with pytest.raises(AuditError, match="Read-only"):
            AuditLog(disk / "log", ORIGIN)


# What is on the disk before what -----------------------------------------------------------------


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Have threads wait for the disk until this is set, as for one that takes its time."""
    real, go_on = os.fdatasync, threading.Event()

    def late(file: int) -> None:
        if threading.current_thread() is not threading.main_thread():
            go_on.wait()
        real(file)

    monkeypatch.setattr(os, "fdatasync", late)
    yield go_on
    go_on.set()


async def test_a_fault_of_power_right_behind_a_new_segment_leaves_a_log_that_goes_on(
    tmp_path: Path, held: threading.Event
) -> None:
    """A09: the name of a segment is on the disk when that is, or none's end could be torn."""
    image, later = tmp_path / "image", tmp_path / "later"
    with ext4_disk(image, tmp_path / "disk") as disk:
        log = AuditLog(disk / "log", ORIGIN, segment_bytes=20_000)
        while len(segments(log.folder)) < 3:
            write_calls(log, 1, first=log.size)
        sync_folder(log.folder)  # anybody may have the names written
        shutil.copyfile(image, later)
        held.set()
        assert log.close() is None
    with mounted(later, tmp_path / "again") as disk:
        last = segments(disk / "log")[-1]
        again = AuditLog(disk / "log", ORIGIN)
        again.close()
        assert again.size > last.first > 0
        report = verify_folder(again.folder, log.public)
        assert (report.ok, report.torn, report.open_intents) == (True, False, {})


async def test_a_full_segment_stays_the_last_one_while_a_thread_waits_for_it(
    tmp_path: Path, held: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop waits for few bytes only, and for none of a disk that does not answer."""
    monkeypatch.setattr(syncing, "AT_ONCE", 64 * 1024)
    size = 256 * 1024
    log = AuditLog(tmp_path / "log", ORIGIN, segment_bytes=size)
    for _ in range(20):
        write_calls(log, 50, first=log.size)
    (segment,) = segments(log.folder)
    assert segment.path.stat().st_size > 3 * size
    full = log.size
    held.set()
    await eventually(lambda: log.synced >= full)
    write_calls(log, 50, first=log.size)
    one, after = segments(log.folder)
    assert (one.first, after.first >= full) == (0, True)
    assert await on_disk(log) is None
    log.close()
    assert [each["seq"] for each in records(log.folder)] == list(range(log.size))
    assert verify_folder(log.folder, log.public).ok


@pytest.mark.parametrize("segment_bytes", [20_000, 1 << 20])
async def test_a_disk_that_does_not_keep_up_is_one_that_fails(
    tmp_path: Path, held: threading.Event, monkeypatch: pytest.MonkeyPatch, segment_bytes: int
) -> None:
    """A08: memory stays bounded, in however many segments that is which no thread came back to."""
    monkeypatch.setattr(log_module, "MAX_UNSYNCED", 200_000)
    log = AuditLog(tmp_path / "log", ORIGIN, segment_bytes=segment_bytes)
    for number in range(1000):
        write_calls(log, 1, first=number)
        if log.failing is not None:
            break
    assert log.failing == "the disk does not keep up"
    written = sum(each.path.stat().st_size for each in segments(log.folder))
    assert 200_000 < written < 400_000
    held.set()
    await eventually(lambda: log.failing is None)
    assert await on_disk(log) is None
    log.close()
    assert [each["seq"] for each in records(log.folder)] == list(range(log.size))
    assert verify_folder(log.folder, log.public).ok


@contextlib.contextmanager
def no_descriptor() -> Iterator[None]:
    """Leave the process no descriptor to open anything with."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_without_a_descriptor_nothing_counts_as_written_and_nothing_is_forgotten(
    tmp_path: Path,
) -> None:
    """A08: whoever waits is told, and all is written again when there is one."""
    log = AuditLog(tmp_path / "log", ORIGIN)
    assert await on_disk(log) is None
    write_calls(log, 3, first=1)
    told: list[str | None] = []
    with no_descriptor():
        log.durable(log.size - 1, told.append)
        assert "Too many open files" in str(log.failing)
        assert log._disk is not None
        assert sum(len(data) for _, data in log._disk._held) == log._disk.unsynced > 0
        await asyncio.sleep(0)
        assert told == [log.failing]
    await eventually(lambda: log.failing is None)
    write_calls(log, 30, first=100)
    assert await on_disk(log) is None
    log.close()
    assert [each["seq"] for each in records(log.folder)] == list(range(log.size))
    assert "audit.gap" in kinds(log.folder)
    assert verify_folder(log.folder, log.public).ok
