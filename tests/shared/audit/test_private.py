"""Folders and files of a log are ours alone, or are not believed."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.audit.private import (
    MAX_BYTES,
    AuditError,
    lock_folder,
    make_folder,
    read_private,
    write_private,
)
from tests.helpers.disks import fill, small_disk


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as disk:
        yield disk


def test_folders_that_are_missing_are_made_for_us_alone(tmp_path: Path) -> None:
    make_folder(tmp_path / "state" / "audit")
    made = [tmp_path / "state", tmp_path / "state" / "audit"]
    assert [each.stat().st_mode & 0o777 for each in made] == [0o700, 0o700]


def test_a_file_is_written_whole_and_for_us_alone(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_private(path, b"one")
    write_private(path, b"two")
    assert read_private(path) == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_leaves_the_one_before(small: Path) -> None:
    path = small / "x"
    write_private(path, b"one")
    fill(small)
    with pytest.raises(AuditError, match="No space left"):
        write_private(path, b"two" * 10_000)
    assert read_private(path) == b"one"


def test_what_others_could_have_put_there_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with pytest.raises(FileNotFoundError):
        read_private(path)
    write_private(path, b"one")
    (tmp_path / "link").symlink_to(path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "large").touch(mode=0o600)
    os.truncate(tmp_path / "large", MAX_BYTES + 1)
    for name in ("link", "pipe", "large", "."):
        with pytest.raises(AuditError):
            read_private(tmp_path / name)
    path.chmod(0o640)
    with pytest.raises(AuditError, match="open to others"):
        read_private(path)


def test_a_folder_is_made_for_us_alone_or_checked(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    make_folder(folder)
    make_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o750)
    with pytest.raises(AuditError, match="open to others"):
        make_folder(folder)
    (tmp_path / "file").touch()
    with pytest.raises(AuditError):
        make_folder(tmp_path / "file")


def test_folders_above_are_made_as_closed_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        make_folder(tmp_path / "state" / "audit")
    finally:
        os.umask(before)
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_a_folder_has_one_lock(tmp_path: Path) -> None:
    """A07."""
    lock = lock_folder(tmp_path / "log", "lock")
    with pytest.raises(AuditError, match="another process"):
        lock_folder(tmp_path / "log", "lock")
    os.close(lock)
    os.close(lock_folder(tmp_path / "log", "lock"))


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root can give a file away")
def test_what_belongs_to_somebody_else_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_private(path, b"one")
    os.chown(path, 65534, 65534)
    with pytest.raises(AuditError, match="another user"):
        read_private(path)
