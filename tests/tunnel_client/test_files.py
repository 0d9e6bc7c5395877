"""Files that others could have touched are not used; what is written survives."""

import os
from pathlib import Path

import pytest

from tunnel_client.errors import UnsafeFileError
from tunnel_client.files import check_folder, make_folder, read_guarded, write_private

OURS = (os.geteuid(),)


def test_a_private_file_is_written_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_private(path, b"one")
    write_private(path, b"two")
    assert read_guarded(path, forbidden=0o077, owners=OURS, links=False) == b"two"
    assert path.stat().st_mode & 0o7777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_replaced_file_keeps_its_mode_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_bytes(b"old")
    path.chmod(0o640)
    write_private(path, b"new", like=path.stat())
    assert path.stat().st_mode & 0o7777 == 0o640


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660, 0o666])
def test_a_file_open_to_others_is_refused_with_the_cure(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    path.touch()
    path.chmod(mode)
    with pytest.raises(UnsafeFileError, match=f"mode {mode:04o}.*\n.*chmod 0600 {path}"):
        read_guarded(path, forbidden=0o077, owners=OURS)


def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(0o600)
    with pytest.raises(UnsafeFileError, match="belongs to another user"):
        read_guarded(path, forbidden=0o077, owners=(os.geteuid() + 1,))


def test_links_pipes_and_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "real").touch(0o600)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(UnsafeFileError, match="symbolic link"):
        read_guarded(tmp_path / "link", forbidden=0o077, owners=OURS, links=False)
    with pytest.raises(UnsafeFileError, match="not a regular file"):
        read_guarded(tmp_path / "pipe", forbidden=0o077, owners=OURS)
    with pytest.raises((UnsafeFileError, IsADirectoryError)):
        read_guarded(tmp_path, forbidden=0o077, owners=OURS)


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_private(path, b"x" * (1024 * 1024 + 1))
    with pytest.raises(UnsafeFileError, match="larger than 1 MiB"):
        read_guarded(path, forbidden=0o077, owners=OURS)


def test_a_folder_is_made_for_us_alone(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    (tmp_path / "a" / "b").chmod(0o750)
    with pytest.raises(UnsafeFileError, match="open to others"):
        check_folder(tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    with pytest.raises(UnsafeFileError, match="not a folder"):
        check_folder(tmp_path / "file")


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    (tmp_path / "key").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_private(tmp_path / "key", b"new")
    assert list(tmp_path.iterdir()) == [tmp_path / "key"]
