"""The launcher does all it was told, or starts nothing."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.helpers.sandboxes import landlock
from tunnel_client.sandbox import launch
from tunnel_client.sandbox.launch import FAILED, facts_of

PYTHON = os.path.realpath(sys.executable)
PRINT = "print('ran')"
DEBIAN_PYTHON = Path("/usr/bin/python3")
NOBODY = 65534


def start(
    *words: str, code: str = PRINT, argv: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    program = argv or (PYTHON, "-S", "-c", code)
    return subprocess.run(
        [PYTHON, "-I", "-S", launch.__file__, *words, "--", *program],
        capture_output=True,
        text=True,
        timeout=30,
    )


def facts(path: Path) -> str:
    with path.open("rb") as file:
        return facts_of(file.fileno())


def test_it_becomes_the_program_with_its_arguments() -> None:
    done = start(argv=("/bin/echo", "--", "a b", ""))
    assert (done.returncode, done.stdout, done.stderr) == (0, "-- a b \n", "")


def test_a_file_that_changed_since_it_was_checked_is_not_started(tmp_path: Path) -> None:
    """L05: swapped, or written to, between the check and execve."""
    program = tmp_path / "server"
    program.write_text("#!/bin/sh\necho ran\n")
    program.chmod(0o755)
    word = f"same={facts(program)}:{program}"
    assert start(word, argv=(str(program),)).stdout == "ran\n"
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\necho RAN\n")
    other.chmod(0o755)
    other.replace(program)
    done = start(word, argv=(str(program),))
    assert (done.returncode, done.stdout) == (FAILED, "")
    assert "changed while it was being started" in done.stderr


@pytest.mark.parametrize(
    "words", [("limit=NOTHING:1",), ("limit=NOFILE:many",), ("same=x:/none",), ("forward=x:y",)]
)
def test_what_cannot_be_done_starts_nothing(words: tuple[str, ...]) -> None:
    done = start(*words)
    assert (done.returncode, done.stdout) == (FAILED, "")
    assert done.stderr.startswith("not started: ")


def test_a_missing_program_is_told() -> None:
    done = start(argv=("/none/such",))
    assert (done.returncode, done.stdout) == (FAILED, "")


def test_landlock_shows_what_is_listed_and_nothing_else(tmp_path: Path) -> None:
    landlock()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "note").write_text("seen")
    (tmp_path / "out").write_text("hidden")
    code = (
        f"print(open({str(tmp_path / 'in' / 'note')!r}).read())\n"
        f"try: print(open({str(tmp_path / 'out')!r}).read())\n"
        "except PermissionError: print('denied')\n"
        f"try: open({str(tmp_path / 'in' / 'new')!r}, 'w')\n"
        "except PermissionError: print('denied')"
    )
    prefix = str(Path(PYTHON).parent.parent)
    system = [f"read={each}" for each in ("/usr", "/lib", "/lib64", "/etc", prefix, "/none")]
    done = start(*system, f"read={tmp_path / 'in'}", code=code)
    assert done.stdout.split() == ["seen", "denied", "denied"], done.stderr


def test_where_landlock_is_wanted_and_missing_nothing_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(launch, "landlock_abi", lambda: 0)
    with pytest.raises(launch.LaunchError, match="no Landlock"):
        launch.restrict_files(["/"], [], True)


@pytest.mark.skipif(
    os.geteuid() != 0 or not DEBIAN_PYTHON.exists(), reason="needs root, and a Python for others"
)
def test_processes_are_counted_for_whoever_is_not_root() -> None:
    """L09: a fork bomb meets its limit."""
    bomb = (
        "import os, signal\n"
        "try:\n"
        "    for started in range(500):\n"
        "        if os.fork() == 0: signal.pause()\n"
        "except BlockingIOError: print('limited', started < 60)\n"
        "signal.signal(15, signal.SIG_IGN); os.killpg(0, 15)"
    )
    with Path(launch.__file__).open("rb") as script:
        done = subprocess.run(
            [
                *(DEBIAN_PYTHON, "-I", "-S", f"/dev/fd/{script.fileno()}", "limit=NPROC:40"),
                *("--", DEBIAN_PYTHON, "-S", "-c", bomb),
            ],
            pass_fds=[script.fileno()],
            user=NOBODY,
            cwd="/",
            start_new_session=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.stdout == "limited True\n", done.stderr
