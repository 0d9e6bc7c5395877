"""The log as its writer uses it: order, what is on the disk when, and what happens without one."""

import asyncio
import gzip
import json
import os
import shutil
import stat
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest

from shared.audit import log as log_module
from shared.audit.log import AuditLog
from shared.audit.private import AuditError
from shared.audit.segments import lines, segments
from shared.audit.verifying import verify_folder
from shared.record import encode
from shared.record.chain import MAX_LINE, split
from shared.record.checkpoint import read_note
from tests.helpers.log_lines import ORIGIN, SAID, call_name, intent, write_calls, written
from tests.integration.scene import eventually


def records(folder: Path) -> list[dict[str, Any]]:
    """Read a log as anybody can: lines of JSON, compressed or not."""
    found = []
    for segment in segments(folder):
        for line in lines(segment.path):
            found.append(json.loads(line)["record"])
    return found


def modes(folder: Path) -> tuple[int, set[int]]:
    """Return the modes of a folder and of what is in it."""
    return stat.S_IMODE(folder.stat().st_mode), {
        stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()
    }


def kinds(folder: Path) -> list[str]:
    return [each["kind"] for each in records(folder)]


async def on_disk(log: AuditLog, seq: int | None = None) -> str | None:
    """Wait for the word on a record, the newest one when it is not named."""
    told: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
    log.durable(log.size - 1 if seq is None else seq, told.set_result)
    return await told


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


async def test_who_waits_for_a_record_of_this_turn_waits_for_no_timer(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "SYNC_SECONDS", 3600.0)
    log = AuditLog(folder, ORIGIN)
    for _ in range(3):
        seq = log.add("admin.asked", {"by": "ada"})
        with anyio.fail_after(60):
            assert await on_disk(log, seq) is None
        assert log.synced > seq
    log.close()


async def test_records_follow_each_other_and_are_signed(folder: Path) -> None:
    log = await written(folder, 3)
    found = records(folder)
    assert [each["seq"] for each in found] == list(range(8))
    assert [each["kind"] for each in found] == [
        "audit.opened",
        *["call.intent", "call.completion"] * 3,
        "audit.closed",
    ]
    point = read_note(str(log.checkpoint()), log.public)
    assert (point.origin, point.size) == (ORIGIN, 8)
    report = verify_folder(folder, log.public)
    assert (report.ok, report.signed, report.records) == (True, 8, 8)


async def test_nobody_else_can_read_it(folder: Path) -> None:
    log = await written(folder, 40)
    assert modes(folder) == (0o700, {0o600})
    os.chmod(folder, 0o711)  # noqa: PTH101, S103 - on the loop there is no Path
    with pytest.raises(AuditError, match="open to others"):
        AuditLog(folder, ORIGIN)
    assert log.failing is None


async def test_a_second_writer_is_kept_out(folder: Path) -> None:
    """A07."""
    log = AuditLog(folder, ORIGIN)
    with pytest.raises(AuditError, match="another process"):
        AuditLog(folder, ORIGIN)
    log.close()
    again = AuditLog(folder, ORIGIN)
    again.close()
    assert verify_folder(folder, log.public).ok


async def test_write_returns_when_the_kernel_has_it_and_all_before(folder: Path) -> None:
    log = AuditLog(folder, ORIGIN)
    log.add("link.up", {"n": 1})
    seq = log.write(lambda seq, now: intent(seq, 7))
    assert [each["seq"] for each in records(folder)] == [0, 1, seq]
    log.close()


async def test_what_is_added_is_written_when_the_turn_ends(folder: Path) -> None:
    log = AuditLog(folder, ORIGIN)
    log.add("link.up", {})
    assert segments(folder) == []
    await asyncio.sleep(0)
    assert kinds(folder) == ["audit.opened", "link.up"]
    log.close()


async def test_what_may_be_late_comes_with_the_next_or_by_itself(folder: Path) -> None:
    log = AuditLog(folder, ORIGIN)
    await asyncio.sleep(0)
    late = log.take_late(intent(log.size, 1))
    assert kinds(folder) == ["audit.opened"]
    log.write(lambda seq, now: intent(seq, 2))
    assert [each["seq"] for each in records(folder)] == [0, late, late + 1]
    log.take_late(intent(log.size, 3))
    await eventually(lambda: len(records(folder)) == 4)
    log.close()


async def test_many_wait_for_one_sync(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group of writes costs one wait for the disk, and those that come meanwhile one more."""
    syncs: list[int] = []
    real = os.fdatasync

    def counted(file: int) -> None:
        syncs.append(file)
        real(file)

    monkeypatch.setattr(os, "fdatasync", counted)
    log = AuditLog(folder, ORIGIN)
    waits = []
    for number in range(50):
        seq = log.write(lambda seq, now, number=number: intent(seq, number))  # type: ignore[misc]
        waits.append(asyncio.ensure_future(on_disk(log, seq)))
    assert await asyncio.gather(*waits) == [None] * 50
    assert log.synced == log.written == log.size
    assert len(syncs) <= 2
    assert await on_disk(log) is None  # told at once: nothing to wait for
    log.close()


async def test_a_checkpoint_says_only_what_is_on_the_disk(folder: Path) -> None:
    log = AuditLog(folder, ORIGIN)
    write_calls(log, 5000)
    assert log.checkpoint() is None
    await on_disk(log)
    point = read_note(str(log.checkpoint()), log.public)
    assert log_module._GROW < point.size <= log.synced
    log.close()


async def test_a_full_segment_is_closed_signed_and_compressed(folder: Path) -> None:
    log = AuditLog(folder, ORIGIN, segment_bytes=20_000)
    write_calls(log, 200)
    await on_disk(log)
    await eventually(lambda: all(each.compressed for each in segments(folder)[:-1]))
    parts = segments(folder)
    assert len(parts) > 5
    for one, after in pairwise(parts):
        text = gzip.decompress(one.path.read_bytes())
        assert text.count(b"\n") == after.first - one.first
    log.close()
    report = verify_folder(folder, log.public)
    assert (report.ok, report.checkpoints >= len(parts)) == (True, True)
    assert [each["seq"] for each in records(folder)] == list(range(log.size))


async def test_an_old_segment_is_closed(folder: Path) -> None:
    log = AuditLog(folder, ORIGIN, segment_seconds=-1.0)
    write_calls(log, 3)
    log.close()
    assert len(segments(folder)) == 4
    assert verify_folder(folder, log.public).ok


async def test_what_a_writer_left_open_is_ended_by_the_next(folder: Path) -> None:
    """A09, without the kill: a program that stops and leaves calls behind."""
    log = AuditLog(folder, ORIGIN, segment_bytes=2_000)
    log.write(lambda seq, now: intent(seq, 70))
    write_calls(log, 20)
    log.write(lambda seq, now: intent(seq, 71))
    log.close()
    again = AuditLog(folder, ORIGIN)
    again.close()
    report = verify_folder(folder, log.public)
    assert (report.ok, report.open_intents) == (True, {})
    ended = [each for each in records(folder) if each.get("closed_by") == "restart"]
    assert [each["call"].rpartition(".")[2] for each in ended] == ["70", "71"]
    assert {each["result"] for each in ended} == {"delivery_unknown"}
    assert "audit.recovered" not in kinds(folder)


@pytest.mark.parametrize("killed", [False, True])
async def test_a_record_that_nobody_would_read_does_not_reach_the_file(
    folder: Path, killed: bool
) -> None:
    """A12: what a reader would not take, all that follows included, would be cut off as torn."""
    live = folder.with_name("live") if killed else folder
    log = AuditLog(live, ORIGIN)
    arguments = b'{"n":"%b"}' % (b"x" * MAX_LINE)
    body = b"e" * 64
    name, now = call_name(1), 5
    long = log.take(encode.intent(name, log.size, now, arguments, body, SAID))
    wait = log.write(lambda seq, now: encode.event("link.up", {"n": "x" * MAX_LINE}, seq, now))
    write_calls(log, 3, first=10)
    assert await on_disk(log) is None
    if killed:
        shutil.copytree(live, folder, ignore=lambda *_: ["lock"])
    count = log.size
    log.close()
    again = AuditLog(folder, ORIGIN)
    again.close()
    found = records(folder)
    assert [each["seq"] for each in found] == list(range(again.size))
    assert again.size > count
    intent_, event = found[long], found[wait]
    assert intent_["arguments"] == {"*": {"bytes": len(arguments)}}
    assert (intent_["call"].encode(), intent_["body"].encode()) == (name, body)
    assert (event["kind"], event["n"]) == ("link.up", {"*": {"bytes": MAX_LINE + 2}})
    report = verify_folder(folder, log.public)
    assert (report.ok, report.torn, report.open_intents) == (True, False, {})


async def test_closing_says_last_what_it_is_told(folder: Path) -> None:
    """A15: a change of the settings is the last record under the old ones."""
    log = AuditLog(folder, ORIGIN)
    assert log.close("audit.changed", changed={"on": [True, False]}) is None
    assert log.close() is None
    last = records(folder)[-1]
    assert (last["kind"], last["changed"]) == ("audit.changed", {"on": [True, False]})
    assert await on_disk(log, log.add("link.up", {})) == "the log is closed"
    assert records(folder)[-1] == last


async def test_lines_are_whole_whatever_is_said_in_them(folder: Path) -> None:
    """A01: of an event, from a reason to a name."""
    log = AuditLog(folder, ORIGIN)
    odd = 'x\r\n}{"|=\\\u2028\u0085\x1b[2J'
    log.add("link.down", {odd: odd, "kind": odd, "seq": 9})
    log.close()
    path = segments(folder)[0].path
    found = [split(line)[1] for line in path.read_bytes().splitlines(keepends=True)]
    assert len(found) == 3
    assert json.loads(found[1])[odd] == odd
    assert json.loads(found[1])["kind"] == "link.down"
