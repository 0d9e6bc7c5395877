"""Full segments are closed by a process beside the writer; nothing is lost when it dies."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from shared.audit import closing
from shared.audit.closing import Closing
from shared.audit.ends import end_path, read_end
from shared.audit.log import AuditLog
from shared.audit.segments import segments
from tests.helpers.log_lines import ORIGIN, intent, write_calls
from tests.integration.scene import eventually
from tests.shared.audit.test_log import records

CALLS = 6_000
PART = 1 << 20


def ends(log: AuditLog) -> dict[int, dict[str, int]]:
    """Return the calls under way at the end of each segment that says so."""
    found = {}
    for each in segments(log.folder):
        end = read_end(log.folder, each.first, log.public)
        if end is not None:
            found[each.first] = dict(end.open_calls)
    return found


def closed(log: AuditLog) -> bool:
    *before, _ = segments(log.folder)
    return bool(before) and all(each.compressed for each in before)


async def durable(log: AuditLog) -> None:
    told = asyncio.get_running_loop().create_future()
    log.durable(log.size - 1, told.set_result)
    assert await told is None


def child_of(log: AuditLog) -> int:
    child = log._signing._closing._child
    return 0 if child is None else child.pid


def running(log: AuditLog) -> bool:
    child = log._signing._closing._child
    return child is not None and child.poll() is None


async def test_a_call_that_runs_on_over_many_segments_is_known_in_each(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "log", ORIGIN, segment_bytes=PART)
    begun = log.take(intent(log.size, 999_999))
    write_calls(log, CALLS)
    await durable(log)
    await eventually(lambda: closed(log))
    *before, _ = segments(log.folder)
    assert len(before) > 2
    found = ends(log)
    assert set(found) == {each.first for each in before}
    assert all(begun in calls.values() for calls in found.values())
    log.close()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_what_a_killed_process_did_not_close_is_closed_with_the_next(
    tmp_path: Path, how: signal.Signals
) -> None:
    log = AuditLog(tmp_path / "log", ORIGIN, segment_bytes=PART)
    begun = log.take(intent(log.size, 999_999))
    killed = 0
    while len(segments(log.folder)) < 6:
        write_calls(log, 1_000)
        await durable(log)
        await asyncio.sleep(0.05)
        if child_of(log) not in {0, killed} and running(log):
            killed = child_of(log)
            os.kill(killed, how)
    assert killed
    await eventually(lambda: not running(log))
    write_calls(log, CALLS)
    await durable(log)
    await eventually(lambda: closed(log))
    found = ends(log)
    assert set(found) == {each.first for each in segments(log.folder)[:-1]}
    assert all(begun in calls.values() for calls in found.values())
    log.close()
    assert len(records(log.folder)) == log.size


async def test_a_writer_that_closes_ends_the_process_and_leaves_nothing_half_made(
    tmp_path: Path,
) -> None:
    log = AuditLog(tmp_path / "log", ORIGIN, segment_bytes=16 * PART)
    while len(segments(log.folder)) < 2:
        write_calls(log, CALLS)
        await durable(log)
    await eventually(lambda: running(log))
    child = child_of(log)
    log.close()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert not list(log.folder.glob(".*"))
    again = AuditLog(log.folder, ORIGIN)
    await eventually(lambda: closed(again))
    again.close()


async def test_a_folder_that_takes_nothing_is_told_and_tried_again(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "log", ORIGIN, segment_bytes=PART)
    begun = log.take(intent(log.size, 999_999))
    in_the_way = end_path(log.folder, 0)
    in_the_way.mkdir()
    while len(segments(log.folder)) < 3:
        write_calls(log, 1_000)
        await durable(log)
    await eventually(lambda: child_of(log) and not running(log))
    assert not any(each.compressed for each in segments(log.folder)), "the first holds up the rest"
    in_the_way.rmdir()
    write_calls(log, CALLS)
    await durable(log)
    await eventually(lambda: closed(log))
    assert all(begun in calls.values() for calls in ends(log).values())
    log.close()


async def test_a_process_that_waits_for_ever_is_replaced_when_too_much_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that is never idle is one where a patient process gets no processor."""
    monkeypatch.setattr(closing, "PATIENT", 3)
    log = AuditLog(tmp_path / "log", ORIGIN, segment_bytes=16 * PART)
    log.take(intent(log.size, 999_999))
    while len(segments(log.folder)) < 2:
        write_calls(log, CALLS)
        await durable(log)
    await eventually(lambda: running(log))
    starved = child_of(log)
    os.kill(starved, signal.SIGSTOP)
    for kind in ("jsonl", "end", "index"):  # it may have begun to write one of them
        (log.folder / f".{0:016d}.{kind}.0123abcd").touch()
    somebodys = log.folder / f".{0:016d}.jsonl.swp"
    somebodys.touch()
    while len(segments(log.folder)) < 6:
        write_calls(log, CALLS)
        await durable(log)
    # Those that are left then may wait again.
    await eventually(lambda: sum(each.compressed for each in segments(log.folder)) > 3)
    assert child_of(log) != starved
    done = {each.first for each in segments(log.folder) if each.compressed}
    assert done <= set(ends(log))
    log.close()
    assert list(log.folder.glob(".*")) == [somebodys], "what the killed one had begun is gone"


def test_nothing_is_started_for_nothing(tmp_path: Path) -> None:
    kept = Closing(tmp_path, {})
    kept.close([])
    kept.stop()
    assert kept._child is None
