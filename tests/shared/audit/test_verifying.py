"""A log in a folder is verified from its files and a public key alone."""

import shutil
from pathlib import Path

import pytest

from shared.audit.private import AuditError
from shared.audit.segments import segments
from shared.audit.verifying import verify_folder
from shared.keys import PrivateKey
from shared.record.checkpoint import Checkpoint, notes_of, sign
from tests.helpers.log_lines import ORIGIN, written


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
