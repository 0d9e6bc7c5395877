"""Disks that fail on command: a small one in memory that fills up, and one on a loop device."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

CHUNK = b"\0" * 4096


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=30)


def _leave(folder: Path) -> None:
    """Unmount for good: at once, or when the last process that was killed there has died of it."""
    _run("umount", "--lazy", str(folder))


def _skip(why: object) -> None:
    pytest.skip(f"NOT TESTED: this fault needs root and a mount here: {why}")


@contextlib.contextmanager
def small_disk(folder: Path, size: str = "4m") -> Iterator[Path]:
    """Mount a disk of `size` in memory at `folder`; skips, loudly, where that is not allowed."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        _run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(folder))
    except (OSError, subprocess.SubprocessError) as error:
        _skip(error)
    try:
        yield folder
    finally:
        _leave(folder)


@contextlib.contextmanager
def ext4_disk(image: Path, folder: Path, size: str = "16m") -> Iterator[Path]:
    """Mount a file as an ext4 disk at `folder`; skips, loudly, where that is not allowed."""
    try:
        _run("truncate", "-s", size, str(image))
        _run("mkfs.ext4", "-q", str(image))
    except (OSError, subprocess.SubprocessError) as error:
        _skip(error)
    with mounted(image, folder):
        folder.chmod(0o700)
        yield folder


@contextlib.contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    """Mount what is an ext4 disk already, or was one when it was copied: the same again."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        _run("mount", "-o", "loop,dioread_lock", str(image), str(folder))
    except (OSError, subprocess.SubprocessError) as error:
        _skip(error)
    try:
        yield folder
    finally:
        _leave(folder)


def fill(folder: Path) -> Path:
    """Leave no byte free on the disk of `folder`; returns what to remove again."""
    filler = folder / "filler"
    file = os.open(filler, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        with contextlib.suppress(OSError):
            while os.write(file, CHUNK):
                pass
    finally:
        os.close(file)
    return filler


def turn_read_only(folder: Path) -> None:
    """Make an ext4 disk read-only as its kernel does after an error, files in use or not."""
    _run("mount", "-o", "remount,abort", str(folder))


@contextlib.contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """Have an ext4 disk refuse every change in a folder, files in use or not, for a while.

    A disk in use that turned read-only never comes back before it is unmounted; this does.
    """
    _run("chattr", "-R", "+i", str(folder))
    try:
        yield
    finally:
        _run("chattr", "-R", "-i", str(folder))


def repaired(image: Path, folder: Path) -> None:
    """Do what an operator does about such a disk: unmount, check, mount. Nobody may use it."""
    _run("umount", str(folder))
    # 1: it found something, and put it right.
    checked = subprocess.run(("e2fsck", "-p", str(image)), capture_output=True, timeout=30)
    assert checked.returncode in (0, 1), checked.stdout
    _run("mount", "-o", "loop,dioread_lock", str(image), str(folder))


@contextlib.contextmanager
def starved_disk(base: Path) -> Iterator[tuple[Path, Path]]:
    """Mount a disk that takes bytes and loses them: its own disk, the second path, can be filled.

    Writing to the first path goes well; waiting for the disk then says that there is no space. Wait
    after each page or two: of larger writes the kernel's loop device loses parts and says nothing.
    """
    with small_disk(base / "below", "8m") as below:
        image, folder = below / "image", base / "above"
        folder.mkdir(mode=0o700)
        try:
            _run("truncate", "-s", "64m", str(image))
            # Without a journal it goes on after an error. Blocks as large as pages, and no extents
            # that are unwritten: otherwise ext4 itself loses what it had said it has.
            _run("mkfs.ext4", "-q", "-b", "4096", "-O", "^has_journal", str(image))
            _run("mount", "-o", "loop,dioread_lock", str(image), str(folder))
        except (OSError, subprocess.SubprocessError) as error:
            _skip(error)
        folder.chmod(0o700)
        try:
            yield folder, below
        finally:
            _leave(folder)


def forget(folder: Path) -> None:
    """Have the kernel read what is in the files of a folder from their disk, not from memory."""
    for path in folder.iterdir():
        file = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)
