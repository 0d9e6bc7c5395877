"""A log in a folder is verified from its files and a public key alone."""

import asyncio
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from shared.audit.log import AuditLog
from shared.audit.notes import append_note
from shared.audit.private import AuditError, write_private
from shared.audit.segments import Segment, lines, segment_name, segments
from shared.audit.verifying import MAX_LOOKS, ForeignCheckpointError, verify_folder
from shared.keys import PrivateKey
from shared.record import encode
from shared.record.checkpoint import Checkpoint, notes_of, parse, sign
from shared.record.tree import Tree
from shared.record.verify import Report
from tests.helpers.audit_log import records
from tests.helpers.log_lines import ORIGIN, chained, write_calls, written
from tests.shared.audit.test_retention import opened, removed


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    await written(tmp_path / "log", 120, segment_bytes=8_000)
    return tmp_path / "log"


@pytest.fixture
def public(folder: Path) -> bytes:
    from shared.audit.keys import read_public

    return read_public(folder / "key.pub")


def notes(folder: Path) -> list[str]:
    return list(notes_of((folder / "checkpoints").read_text()))


def test_a_copy_is_verified_like_the_log(folder: Path, public: bytes, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    for where in (folder, tmp_path / "copy"):
        report = verify_folder(where, public, notes(folder))
        assert (report.ok, report.records, report.signed) == (True, 242, 242)
    with pytest.raises(AuditError, match="no log"):
        verify_folder(tmp_path, public)


def test_every_segment_that_is_gone_is_named(folder: Path, public: bytes) -> None:
    """A04: the first, one in the middle, the newest, all of them."""
    parts = segments(folder)
    assert len(parts) > 5
    for at, segment in enumerate(parts):
        held = segment.path.read_bytes()
        segment.path.unlink()
        report = verify_folder(folder, public)
        assert (report.ok, report.first_bad) == (False, segment.first), at
        segment.path.write_bytes(held)
    for segment in parts:
        segment.path.unlink()
    report = verify_folder(folder, public)
    assert (report.ok, report.first_bad) == (False, 0)


def test_the_newest_files_with_their_checkpoints_are_missed_elsewhere(
    folder: Path, public: bytes
) -> None:
    """A04: only a checkpoint that was kept elsewhere knows."""
    exported = notes(folder)[-1]
    *kept, last = segments(folder)
    last.path.unlink()
    mine = [note for note in notes(folder) if int(note.split("\n")[1]) <= last.first]
    (folder / "checkpoints").write_text("".join(mine))
    assert verify_folder(folder, public).ok
    report = verify_folder(folder, public, [exported])
    assert (report.ok, report.first_bad) == (False, last.first)
    assert kept


def test_a_segment_that_cannot_be_read_is_named(folder: Path, public: bytes) -> None:
    parts = segments(folder)
    parts[2].path.rename(parts[2].path.with_name(parts[2].path.stem + ".jsonl.gz"))
    report = verify_folder(folder, public)
    assert (report.ok, report.first_bad) == (False, parts[2].first)


@pytest.mark.parametrize(("at", "by"), [(0, 1), (2, -1), (2, 1), (-1, -1), (-1, 1)])
def test_a_segment_with_the_name_of_another_record_is_named(
    folder: Path, public: bytes, at: int, by: int
) -> None:
    """A04: nobody who looks for its records would find them, and no start goes on with it."""
    part = segments(folder)[at]
    name = segment_name(part.first + by) + ".gz" * part.compressed
    part.path.rename(folder / name)
    report = verify_folder(folder, public)
    assert (report.ok, report.first_bad) == (False, part.first)
    assert report.reason == f"the next segment, {name}, does not begin with it by its name"


@pytest.mark.parametrize("first", [5, 9999])
def test_a_segment_that_was_put_among_the_others_is_named(
    folder: Path, public: bytes, first: int
) -> None:
    """A04: one without a line as well, from which on questions would find nothing."""
    (folder / segment_name(first)).touch(mode=0o600)
    report = verify_folder(folder, public)
    behind = segments(folder)[2].first if first == 5 else 242
    assert (report.ok, report.first_bad) == (False, behind)
    assert f"{first:016d}.jsonl, does not begin with it" in str(report.reason)


def test_a_segment_that_a_writer_had_only_begun_is_no_fault(folder: Path, public: bytes) -> None:
    (folder / segment_name(242)).touch(mode=0o600)
    assert verify_folder(folder, public).ok


def test_what_this_user_may_not_read_is_no_fault_of_the_log(
    folder: Path, public: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = segments(folder)[2].path
    opened = Path.open

    def forbidden(path: Path, *how: Any, **more: Any) -> Any:
        if path == part:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *how, **more)

    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(AuditError, match=f"cannot read {part}: Permission denied"):
        verify_folder(folder, public)


def test_half_a_line_within_is_no_torn_end(folder: Path, public: bytes) -> None:
    part = segments(folder)[1]
    part.path.write_bytes(part.path.read_bytes()[:-10])
    report = verify_folder(folder, public)
    assert (report.ok, report.torn) == (False, False)
    assert report.first_bad == segments(folder)[2].first - 1


def test_checkpoints_of_another_key_prove_nothing(folder: Path, public: bytes) -> None:
    """A06: the log was signed anew, by whoever wrote it anew."""
    other = PrivateKey.generate()
    forged = sign(Checkpoint(ORIGIN, 242, bytes(32)), other)
    report = verify_folder(folder, public, [forged])
    assert (report.ok, report.first_bad) == (False, 242)
    with (folder / "checkpoints").open("a") as file:
        file.write(forged)
    assert not verify_folder(folder, public).ok
    assert not verify_folder(folder, other.public).ok


def a_log_of(folder: Path, seconds: int, *, signed: int = 0) -> PrivateKey:
    """Write a log with a record for each second, hashes and all, and sign so many of them."""
    key = PrivateKey.generate()
    made = [encode.event("test", {}, at, at * 1_000_000) for at in range(seconds)]
    lines = chained(made)
    folder.mkdir(mode=0o700)
    write_private(folder / "key.pem", key.to_pem().get_secret_value().encode())
    write_private(folder / "0000000000000000.jsonl", b"".join(lines))
    if signed:
        tree = Tree()
        tree.extend([bytes.fromhex(line[9:73].decode()) for line in lines[:signed]])
        append_note(folder, sign(Checkpoint(ORIGIN, tree.size, tree.root()), key))
    return key


def warnings(lines: list[Any]) -> list[tuple[str, str]]:
    return [(each["records"], each["why"]) for each in lines if each["log_level"] == "error"]


@pytest.mark.parametrize(
    ("seconds", "signed", "why"),
    [
        (100, 0, None),
        (1000, 900, None),
        (1000, 0, "they were written in more than 120 seconds"),
        (1000, 800, "they were written in more than 120 seconds"),
    ],
)
async def test_a_start_says_that_nothing_vouches_for_what_it_will_sign(
    tmp_path: Path, seconds: int, signed: int, why: str | None
) -> None:
    """A06: with the checkpoints taken away, a log that was written anew is as old as before."""
    folder = tmp_path / "log"
    public = a_log_of(folder, seconds, signed=signed).public
    assert verify_folder(folder, public).ok is (why is None)
    with capture_logs() as said:
        AuditLog(folder, ORIGIN).close()
    assert warnings(said) == ([] if why is None else [(f"{signed} to {seconds - 1}", why)])
    (opened,) = records(folder, "audit.opened")
    assert opened.get("unproven") == why
    assert verify_folder(folder, public).ok


async def test_a_start_misses_the_checkpoints_of_closed_segments(folder: Path) -> None:
    """A06, A04: what a segment ends with was signed, however young it is."""
    AuditLog(folder, ORIGIN).close()  # notes how segments end, if nobody has come to it yet
    (folder / "checkpoints").unlink()
    with capture_logs() as said:
        AuditLog(folder, ORIGIN).close()
    assert warnings(said) == [("0 to 243", "what a segment was closed with is gone")]
    assert records(folder, "audit.opened")[-1]["unproven"] == warnings(said)[0][1]


async def test_a_disk_too_full_for_checkpoints_is_no_fault(tmp_path: Path) -> None:
    """Started twice, a log that could be written and not be signed is not proven; then it is."""
    folder = tmp_path / "log"
    with pytest.MonkeyPatch.context() as patch:

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr("shared.audit.signing.append_note", full)
        for _ in range(2):
            log = AuditLog(folder, ORIGIN)
            write_calls(log, 3)
            assert log.close() == "No space left on device"
    report = verify_folder(folder, log.public)
    assert (report.fault, report.signed, report.records) == (None, 0, 16)
    assert "whoever gave the log back" in str(report.unproven)
    with capture_logs() as said:
        AuditLog(folder, ORIGIN).close()
    assert len(warnings(said)) == 1
    report = verify_folder(folder, log.public)
    assert (report.ok, report.signed) == (True, report.records)


async def test_what_is_written_meanwhile_is_left_for_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No checkpoint that was read speaks of it, and looking at a large log takes a while."""
    log = AuditLog(tmp_path / "log", ORIGIN)
    write_calls(log, 3)

    def meanwhile(path: Path) -> Iterator[bytes]:
        found = lines(path)
        yield next(found)
        write_calls(log, 3, first=3)
        yield from found

    monkeypatch.setattr("shared.audit.verifying.lines", meanwhile)
    report = verify_folder(log.folder, log.public)
    assert (report.ok, report.records, report.torn) == (True, 7, False)
    monkeypatch.undo()
    assert verify_folder(log.folder, log.public).records == 13
    log.close()


class Meanwhile:
    """Two people have the oldest segment removed, so many times, while a thread verifies."""

    def __init__(self, log: AuditLog, times: int) -> None:
        self.log = log
        self.left = times
        self._loop = asyncio.get_running_loop()

    async def verified(self) -> Report:
        return await asyncio.to_thread(verify_folder, self.log.folder, self.log.public)

    def lines(self, path: Path) -> Iterator[bytes]:
        """Read a segment; in the middle of the first one, it and the next one are removed."""
        found = lines(path)
        yield next(found)
        if path == segments(self.log.folder)[0].path:
            self.remove()
        yield from found

    def segments(self, folder: Path) -> list[Segment]:
        """List segments, just after some of them were removed."""
        self.remove()
        return segments(folder)

    def remove(self) -> None:
        if self.left:
            self.left -= 1
            asyncio.run_coroutine_threadsafe(removed(self.log, 2), self._loop).result()


@pytest.mark.parametrize("where", ["verifying.lines", "tombstones.segments"])
async def test_what_is_removed_meanwhile_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A14: between two segments, and between the tombstone and the list of them."""
    log = await opened(tmp_path / "log")
    left = segments(log.folder)[2].first
    by = Meanwhile(log, 1)
    monkeypatch.setattr(f"shared.audit.{where}", getattr(by, where.split(".")[1]))
    report = await by.verified()
    assert (report.fault, report.unproven, report.removed) == (None, None, left)
    assert report.removed_by == ["ada", "eve"]
    log.close()


async def test_what_is_gone_is_missed_whatever_is_removed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A04: behind what two people removed."""
    log = await opened(tmp_path / "log")
    gone = segments(log.folder)[4]
    gone.path.unlink()
    by = Meanwhile(log, 1)
    monkeypatch.setattr("shared.audit.verifying.lines", by.lines)
    report = await by.verified()
    assert (report.ok, report.first_bad, by.left) == (False, gone.first, 0)
    log.close()


async def test_a_log_is_looked_at_anew_a_few_times_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await opened(tmp_path / "log")
    by = Meanwhile(log, MAX_LOOKS)
    monkeypatch.setattr("shared.audit.verifying.lines", by.lines)
    with pytest.raises(AuditError, match="removed while it was looked at; try again later"):
        await by.verified()
    assert (await by.verified()).ok
    log.close()


def test_a_checkpoint_of_another_log_is_no_fault_of_this_one(folder: Path, public: bytes) -> None:
    other = PrivateKey.generate()
    foreign = sign(Checkpoint("other/log", 242, bytes(32)), other)
    with pytest.raises(ForeignCheckpointError, match=f"other/log.* {ORIGIN}"):
        verify_folder(folder, public, [*notes(folder), foreign])


def test_a_checkpoint_that_this_key_did_not_sign_is_told_whatever_is_beside_it(
    folder: Path, public: bytes
) -> None:
    """A06: one of another log, or the loss of those beside this one, explains nothing away."""
    other = PrivateKey.generate()
    foreign = sign(Checkpoint("other/log", 242, bytes(32)), other)
    forged = sign(Checkpoint(ORIGIN, 242, bytes(32)), other)
    for given in ([forged, foreign], [foreign, forged], [*notes(folder), forged]):
        report = verify_folder(folder, public, given)
        assert (report.ok, report.reason) == (False, "a checkpoint that this key did not sign")
    (folder / "checkpoints").unlink()
    for given in ([forged], [foreign]):
        report = verify_folder(folder, public, given)
        assert (report.ok, report.reason) == (False, "a checkpoint that this key did not sign")


def test_a_log_that_was_renamed_knows_the_checkpoints_of_both_names(
    folder: Path, public: bytes
) -> None:
    key = PrivateKey.from_pem(SecretStr((folder / "key.pem").read_text()))
    point = parse(notes(folder)[-1])[0]
    renamed = sign(Checkpoint("new/name", point.size, point.root), key)
    (folder / "checkpoints").write_text("".join([*notes(folder)[:-1], renamed]))
    assert verify_folder(folder, public, notes(folder)).ok
    forged = sign(Checkpoint(ORIGIN, 242, bytes(32)), PrivateKey.generate())
    assert not verify_folder(folder, public, [forged]).ok
