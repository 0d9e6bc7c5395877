"""Who holds a lock file: a real process, running, stopped and gone."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.holder import Holder, holder_of, is_stopped

HOLD = """\
import fcntl, os, sys
from shared.holder import sign
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(descriptor, fcntl.LOCK_EX)
if sys.argv[2] == "signs":
    sign(descriptor)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def holding(path: Path, how: str = "signs") -> Iterator[int]:
    """Have another process hold a lock file; yields its number."""
    words = [sys.executable, "-c", HOLD, str(path), how]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process.pid
        finally:
            process.kill()


def test_nobody_holds_what_is_missing_free_or_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert holder_of(path) is None
    with holding(path):
        pass
    assert path.read_text(), "its number is there still"
    assert holder_of(path) is None


def test_the_holder_is_known_by_its_number_and_a_look_takes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("123456789 and more that was there before\n")
    with holding(path) as number:
        assert holder_of(path) == holder_of(path) == Holder(number, stopped=False)


def test_one_that_is_stopped_is_told_from_one_that_hangs(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holding(path) as number:
        os.kill(number, signal.SIGSTOP)
        os.waitpid(number, os.WUNTRACED)
        assert holder_of(path) == Holder(number, stopped=True)
        os.kill(number, signal.SIGCONT)
        os.waitpid(number, os.WCONTINUED)
        assert holder_of(path) == Holder(number, stopped=False)


def test_one_that_did_not_say_its_number_holds_it_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holding(path, "silently"):
        assert holder_of(path) == Holder(None, stopped=False)


@pytest.mark.parametrize(
    ("holder", "text"),
    [
        (Holder(7, stopped=False), "process 7"),
        (Holder(7, stopped=True), "process 7, which is stopped,"),
        (Holder(None, stopped=False), "another process"),
    ],
)
def test_it_is_said_in_words(holder: Holder, text: str) -> None:
    assert str(holder) == text


def test_the_name_of_a_program_does_not_pass_for_its_state() -> None:
    assert is_stopped("7 (a) T b) T 1 7")
    assert not is_stopped("7 (a) T b) S 1 7")
    assert not is_stopped("")
