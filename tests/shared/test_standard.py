"""Programs that are started with standard files closed, or full, as a shell can do it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tunnel_client.doctor.doctored import enrolled

SHOW = """
import os, sys
from shared.standard import standard_files
with standard_files():
    held = [open("/dev/null").fileno() for _ in range(3)]
    assert min(held) > 2, held
    assert sys.stdin.read() == "" and not sys.stdout.isatty()
    sys.stderr.write("")
    done = os.system("test -e /dev/fd/0 && test -e /dev/fd/1 && test -e /dev/fd/2")
    sys.exit(done)
"""
WRITE = """
import sys
from shared.standard import standard_files
with standard_files():
    try:
        sys.stdout.write(sys.argv[1] * int(sys.argv[2]))
    except BrokenPipeError:
        raise
    except OSError:
        sys.exit("taken for another file")
    sys.exit(0)
"""
CLIENT = [sys.executable, "-m", "tunnel_client.cli"]
RELAY = [sys.executable, "-c", "from tunnel_relay.cli import main; main()"]


def run(how: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """Start it as `words` with redirections `how`."""
    line = ["sh", "-c", f'exec "$@" {how}', "sh", *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("how", ["<&-", "</dev/null >&-", "<&- >&-", "<&- >&- 2>&-"])
def test_what_is_closed_is_open_on_nothing(how: str) -> None:
    done = run(how, sys.executable, "-c", SHOW)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("times", ["1", "100000"])
def test_an_output_that_is_full_is_one_line(times: str) -> None:
    done = run(">/dev/full", sys.executable, "-c", WRITE, "x", times)
    told = "Error: standard output cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (74, told)
    done = run(">/dev/full 2>/dev/full", sys.executable, "-c", WRITE, "x", times)
    assert done.returncode == 74


def test_what_is_written_arrives_as_ever() -> None:
    done = run("", sys.executable, "-c", WRITE, "ä\n", "2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ä\nä\n", "")
    done = run("| true", sys.executable, "-c", WRITE, "x", "1000000")
    assert done.stderr == ""


def test_the_client_answers_with_its_output_closed_and_full(tmp_path: Path) -> None:
    settings = enrolled(tmp_path, "ws://127.0.0.1:1")
    config = tmp_path / "client.toml"
    config.write_text(
        f'state_dir = "{settings.state_dir}"\n[relay]\nurl = "ws://127.0.0.1:1"\ntunnel = "lab"\n'
        f'public_key = "{settings.relay.public_key}"\n'
    )
    config.chmod(0o600)
    words = [*CLIENT, "doctor", "--config", str(config)]
    closed = run(">&-", *words)
    assert (closed.returncode, closed.stderr) == (1, "")
    full = run(">/dev/full", *words)
    assert (full.returncode, full.stderr.count("\n")) == (74, 1), full.stderr


def test_the_relay_answers_with_its_output_closed_and_full(tmp_path: Path) -> None:
    config = ["--config", str(tmp_path / "relay.toml")]
    state = ["--state-dir", str(tmp_path / "state")]
    made = run("", *RELAY, "init", "--public-url", "https://relay.example.com", *state, *config)
    assert made.returncode == 0, made.stderr
    closed = run(">&-", *RELAY, "session", "list", *config)
    assert (closed.returncode, closed.stderr) == (0, "")
    full = run(">/dev/full", *RELAY, "session", "list", *config)
    assert (full.returncode, full.stderr.count("\n")) == (74, 1), full.stderr
