"""What a log is after its writer was killed, and what it is not taken for."""

import asyncio
import json
import random
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from shared.audit.ends import end_path
from shared.audit.log import AuditLog
from shared.audit.private import AuditError
from shared.audit.segments import segments
from shared.audit.verifying import verify_folder
from shared.record import encode
from tests.helpers.log_lines import ORIGIN, SAID, call_name, intent, write_calls, written
from tests.helpers.log_writer import SEGMENT_BYTES
from tests.integration.scene import eventually
from tests.shared.audit.test_log import kinds, records

ROUNDS = 40


async def killed(folder: Path, seed: int, after: int) -> list[str]:
    """Let a writer dispatch calls and kill it; returns the calls that left."""
    words = (sys.executable, "-m", "tests.helpers.log_writer", str(folder), str(seed))
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    left = []
    for _ in range(after):
        left.append((await process.stdout.readline()).decode().strip())
    process.send_signal(signal.SIGKILL)
    rest = await process.stdout.read()
    await process.wait()
    # The last line may have been on its way when the writer died.
    return [*left, *rest.decode().split("\n")[:-1]]


@pytest.mark.slow
@pytest.mark.slow
async def test_whatever_left_has_an_intent_and_every_intent_ends(tmp_path: Path) -> None:
    """A09: real processes, killed at random points, over and over on one log."""
    folder, dice, left = tmp_path / "log", random.Random(7), set[str]()
    for seed in range(1, ROUNDS + 1):
        left |= set(await killed(folder, seed, dice.randint(1, 120)))
        log = AuditLog(folder, ORIGIN, segment_bytes=SEGMENT_BYTES)
        log.close()
    report = verify_folder(folder, log.public)
    assert (report.ok, report.open_intents, report.torn) == (True, {}, False)
    found = records(folder)
    assert [each["seq"] for each in found] == list(range(log.size))
    intents = {each["call"] for each in found if each["kind"] == "call.intent"}
    ends = [each["call"] for each in found if each["kind"] == "call.completion"]
    assert left <= intents
    assert sorted(ends) == sorted(intents)
    restarts = [each for each in found if each.get("closed_by") == "restart"]
    assert {each["result"] for each in restarts} == {"delivery_unknown"}
    assert kinds(folder).count("audit.recovered") == ROUNDS


async def abandoned(folder: Path, calls: int = 8) -> AuditLog:
    """Return a log whose writer is gone without a word, as a kill leaves it."""
    copy = folder.with_name("live")
    log = AuditLog(copy, ORIGIN)
    write_calls(log, calls)
    shutil.copytree(copy, folder, ignore=lambda *_: ["lock"])
    log.close()
    return log


@pytest.mark.parametrize("cut", [1, 2, 100, 250])
async def test_a_torn_line_is_cut_off_and_that_is_a_record(tmp_path: Path, cut: int) -> None:
    folder = tmp_path / "log"
    log = await abandoned(folder)
    path = segments(folder)[-1].path
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    report = verify_folder(folder, log.public)
    assert report.first_bad is None
    assert report.torn is True
    again = AuditLog(folder, ORIGIN)
    again.close()
    torn = len(whole.splitlines(keepends=True)[-1]) - cut
    (recovered,) = [each for each in records(folder) if each["kind"] == "audit.recovered"]
    assert (recovered["torn"], recovered["open"]) == (torn, 1)
    report = verify_folder(folder, log.public)
    assert (report.ok, report.torn, report.open_intents) == (True, False, {})


@pytest.mark.parametrize("filler", [b"\0" * 5000, b"\0" * 300 + b'\n{"hash":"', b"x\ny\n"])
async def test_what_a_fault_of_power_left_behind_the_last_checkpoint_is_cut_off(
    tmp_path: Path, filler: bytes
) -> None:
    folder = tmp_path / "log"
    log = await abandoned(folder)
    with segments(folder)[-1].path.open("ab") as file:
        file.write(filler)
    again = AuditLog(folder, ORIGIN)
    again.close()
    (recovered,) = [each for each in records(folder) if each["kind"] == "audit.recovered"]
    assert recovered["torn"] == len(filler)
    assert verify_folder(folder, log.public).ok


async def test_what_was_signed_is_missed(tmp_path: Path) -> None:
    """A04, A07: a log that was cut, or put back from a backup, is not written on."""
    folder = tmp_path / "log"
    await written(folder)
    path = segments(folder)[-1].path
    whole = path.read_bytes()
    kept = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(kept[:-3]))
    with pytest.raises(AuditError, match=f"record {len(kept) - 3} .* is gone or changed"):
        AuditLog(folder, ORIGIN)
    path.unlink()
    with pytest.raises(AuditError, match="is gone"):
        AuditLog(folder, ORIGIN)
    path.touch(mode=0o600)
    with pytest.raises(AuditError, match=r"record 0 .* is gone or changed"):
        AuditLog(folder, ORIGIN)
    path.write_bytes(whole)
    AuditLog(folder, ORIGIN).close()


async def test_an_edit_is_no_accident(tmp_path: Path) -> None:
    """A03: nothing is written behind a record that is not what was written."""
    folder = tmp_path / "log"
    await written(folder)
    path = segments(folder)[-1].path
    path.write_bytes(path.read_bytes().replace(b"look_up", b"look_UP", 1))
    with pytest.raises(AuditError, match="is gone or changed"):
        AuditLog(folder, ORIGIN)


async def test_a_key_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    """A06: whoever wrote a log anew would sign it with a new key."""
    folder = tmp_path / "log"
    await written(folder)
    (folder / "key.pem").unlink()
    with pytest.raises(AuditError, match="is gone, and its log is not"):
        AuditLog(folder, ORIGIN)
    await written(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "key.pem", folder / "key.pem")
    with pytest.raises(AuditError, match="cannot be used"):
        AuditLog(folder, ORIGIN)


async def segmented(folder: Path) -> AuditLog:
    """Return a log of many segments, one call of the first still under way, killed at the end."""
    copy = folder.with_name("live")
    log = AuditLog(copy, ORIGIN, segment_bytes=20_000)
    log.write(lambda seq, now: intent(seq, 4_000))
    write_calls(log, 200)
    told: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
    log.durable(log.size - 1, told.set_result)
    assert await told is None
    await eventually(lambda: all(each.compressed for each in segments(copy)[:-1]))
    # What the process that closes them is at meanwhile, its indexes, comes and goes.
    shutil.copytree(copy, folder, ignore=shutil.ignore_patterns("lock", "*.index*"))
    log.close()
    return log


async def test_only_the_last_segments_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = await segmented(folder)
    for segment in segments(folder)[:-1]:
        segment.path.write_bytes(b"not even a log")
    again = AuditLog(folder, ORIGIN)
    again.close()
    ended = [each for each in tail(folder) if each.get("closed_by") == "restart"]
    assert [each["call"].rpartition(".")[2] for each in ended] == ["4000"]
    assert verify_folder(folder, log.public).first_bad == 0


def tail(folder: Path) -> list[dict[str, Any]]:
    last = segments(folder)[-1].path
    copy = last.parent.parent / "tail"
    copy.mkdir()
    shutil.copy(last, copy)
    return records(copy)


@pytest.mark.parametrize("harm", ["gone", "empty", "forged", "of another"])
async def test_an_end_that_nothing_vouches_for_is_found_again(tmp_path: Path, harm: str) -> None:
    folder = tmp_path / "log"
    log = await segmented(folder)
    *closed, _ = segments(folder)
    last = end_path(folder, closed[-1].first)
    told = last.read_text()
    if harm == "gone":
        for each in closed:
            end_path(folder, each.first).unlink()
    elif harm == "empty":
        last.write_text("")
    elif harm == "forged":
        size = closed[-1].first
        last.write_text(told.replace('"size": ', f'"size": {size}'))
    else:
        shutil.copy(end_path(folder, closed[0].first), last)
    again = AuditLog(folder, ORIGIN)
    again.close()
    report = verify_folder(folder, log.public)
    assert (report.ok, report.open_intents) == (True, {})
    assert last.read_text() == told


async def test_a_checkpoint_that_was_written_half_is_cut_off(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = await written(folder)
    notes = folder / "checkpoints"
    whole = notes.read_bytes()
    notes.write_bytes(whole + whole[:60])
    await written(folder)
    assert verify_folder(folder, log.public).ok
    assert notes.read_bytes().startswith(whole)


async def killed_after(folder: Path, *records: bytes) -> AuditLog:
    """Return a log with an open call and these records, whose writer is gone without a word."""
    copy = folder.with_name("live")
    log = AuditLog(copy, ORIGIN)
    log.take(intent(log.size, 1))
    for record in records:
        log.take(record)
    log.flush()
    shutil.copytree(copy, folder, ignore=lambda *_: ["lock"])
    log.close()
    return log


async def test_arguments_in_clear_end_nobody_elses_call(tmp_path: Path) -> None:
    """A09: an agent's arguments are named like the members of a completion."""
    folder, first, second = tmp_path / "log", call_name(1), call_name(2)
    clear = b'{"call":"%b","kind":"call.completion","limit":5}' % first
    log = await killed_after(folder, encode.intent(second, 2, 1, clear, b"f" * 64, SAID))
    AuditLog(folder, ORIGIN).close()
    ended = [each["call"] for each in records(folder) if each.get("closed_by") == "restart"]
    assert ended == [first.decode(), second.decode()]
    report = verify_folder(folder, log.public)
    assert (report.ok, report.open_intents) == (True, {})


async def test_a_question_for_the_last_record_does_not_make_a_kill_a_clean_end(
    tmp_path: Path,
) -> None:
    """A09: what was asked for last is quoted by the last record."""
    folder, asked = tmp_path / "log", {"kind": "audit.closed"}
    await killed_after(folder, encode.event("audit.viewed", {"asked": asked}, 2, 1))
    AuditLog(folder, ORIGIN).close()
    (recovered,) = [each for each in records(folder) if each["kind"] == "audit.recovered"]
    assert recovered["open"] == 1


async def test_a_call_that_never_was_is_not_ended(tmp_path: Path) -> None:
    """Nothing vouches for the calls in an end, and one of an older version may name such."""
    folder = tmp_path / "log"
    log = await segmented(folder)
    last = end_path(folder, segments(folder)[-2].first)
    facts = json.loads(last.read_text())
    (number,) = facts["open"].values()
    last.write_text(json.dumps({**facts, "open": {**facts["open"], "l.1": number + 1}}))
    AuditLog(folder, ORIGIN).close()
    ended = [each["call"] for each in records(folder) if each.get("closed_by") == "restart"]
    assert [each.rpartition(".")[2] for each in ended] == ["4000"]
    report = verify_folder(folder, log.public)
    assert (report.ok, report.open_intents) == (True, {})
