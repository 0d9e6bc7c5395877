"""Commands that are forked are as good as those that are started, and these start as well."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tunnel_client
import tunnel_relay
from tests.helpers import warm

MODULES = sorted(
    f"{package.__name__}.{path.stem}"
    for package in (tunnel_relay, tunnel_client)
    for path in Path(package.__path__[0]).glob("cli_*.py")
)


def ran(program: str, *words: str, **env: str) -> warm.Ended:
    return warm.run(program, words, {"PATH": os.environ["PATH"], **env}, 30)


def test_what_a_command_says_and_how_it_ends_come_back(tmp_path: Path) -> None:
    assert ran("tunnel-relay", "--version").out.startswith("tunnel-relay, version ")
    missing = ran("tunnel-client", "status", "--config", str(tmp_path / "client.toml"))
    assert (missing.code, missing.out) == (78, "")
    assert "MT2001" in missing.err
    assert ran("tunnel-relay", "no-such-command").code == 2


def test_each_has_the_environment_that_it_is_given_and_no_other(tmp_path: Path) -> None:
    here = ran("tunnel-relay", "session", "list", HOME=str(tmp_path), TUNNEL_RELAY_CONFIG="/a/b")
    assert "/a/b" in here.err
    there = ran("tunnel-relay", "session", "list", HOME=str(tmp_path), TUNNEL_RELAY_CONFIG="/c/d")
    assert "/c/d" in there.err


def test_one_that_does_not_end_is_killed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "relay.toml")  # nobody ever writes to it
    words = ("session", "list", "--config", str(tmp_path / "relay.toml"))
    with pytest.raises(TimeoutError):
        warm.run("tunnel-relay", words, dict(os.environ), 1)


@pytest.mark.parametrize("module", MODULES)
def test_every_command_finds_what_it_needs_by_itself(module: str) -> None:
    """A process that has imported everything would not notice what one of them forgot."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import {module}"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
