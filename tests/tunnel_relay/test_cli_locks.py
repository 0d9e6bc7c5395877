"""Locks by the command line."""

from pathlib import Path

import pytest

from tests.tunnel_relay.test_cli import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    made = Shell(tmp_path)
    made.init("--public-url", "https://relay.example.com")
    return made


def test_a_lock_is_added_listed_and_removed(shell: Shell) -> None:
    said = shell.run("lock", "add", "--user", "bob", "--ttl", "2h", "--reason", "laptop lost")
    assert "user bob is locked" in said.stdout
    assert "tunnel-relay lock remove" in said.stdout
    (lock,) = shell.json("lock", "list")["locks"]
    assert (lock["kind"], lock["subject"], lock["reason"]) == ("user", "bob", "laptop lost")
    assert lock["expires"] - lock["created"] == pytest.approx(7200)
    assert "laptop lost" in shell.run("lock", "list").stdout
    shell.run("lock", "remove", lock["id"][:12])
    assert shell.json("lock", "list")["locks"] == []
    assert shell.run("lock", "list").stdout == "no locks\n"


def test_what_is_locked_gets_no_session_and_the_next_command(shell: Shell) -> None:
    shell.run("tunnel", "create", "office", "--owner", "alice")
    shell.run("lock", "add", "--tunnel", "office", "--reason", "why")
    refused = shell.run(
        *("session", "create", "--user", "alice", "--agent", "a", "--server", "office/git"), code=77
    )
    assert "MT1027" in refused.stderr
    assert "tunnel-relay lock list" in refused.stderr


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--user", "u", "--agent", "a"),
        ("--user", "u", "--ttl", "soon"),
    ],
)
def test_a_lock_is_on_one_thing(shell: Shell, words: tuple[str, ...]) -> None:
    shell.run("lock", "add", "--reason", "why", *words, code=2)
    assert shell.json("lock", "list")["locks"] == []
