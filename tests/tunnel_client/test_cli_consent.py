"""Agreeing to what a stdio upstream starts, on a terminal and in scripts."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.helpers.audit_log import records
from tests.tunnel_client.test_settings import HEAD, HTTP
from tunnel_client.cli import cli

NONE = HEAD + HTTP


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "client.toml"
    path.write_text(NONE)
    return path


@pytest.fixture
def server(tmp_path: Path) -> Path:
    place = tmp_path / "install" / "server"
    place.parent.mkdir()
    place.write_text("#!/bin/sh\nexit 0\n")
    place.chmod(0o755)
    return place


def call(config: Path, *words: object) -> Result:
    at = words.index("--") if "--" in words else len(words)
    line = [*words[:at], "--config", config, *words[at:]]
    return CliRunner().invoke(cli, [str(word) for word in line])


def on_a_terminal(config: Path, *words: str, typed: str) -> subprocess.CompletedProcess[str]:
    """Run a command with a person who types."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, typed.encode())
        return subprocess.run(
            [sys.executable, "-m", "tunnel_client.cli", *words, "--config", str(config)],
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        os.close(ours)
        os.close(theirs)


def listed(config: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(call(config, "consent", "list", "--json").stdout)[
        "consents"
    ]
    return rows


def test_an_upstream_that_is_added_in_a_script_waits_for_an_agreement(
    config: Path, server: Path
) -> None:
    added = call(config, "upstream", "add", "x", "--", server)
    assert added.exit_code == 0
    assert "tunnel-client consent approve x" in added.stdout
    (row,) = listed(config)
    assert (row["consented"], row["name"]) == (False, "x")
    assert "MT2560" in call(config, "consent", "list").stdout


def test_yes_agrees_while_adding_and_shows_all_of_it(config: Path, server: Path) -> None:
    data = server.parent
    added = call(
        config,
        "upstream",
        "add",
        "x",
        "--yes",
        "--read",
        data,
        "--host",
        "a.example:443",
        "--",
        server,
    )
    assert added.exit_code == 0, added.stderr
    assert f"[0] '{server}' (" in added.stdout
    assert "reaches   a.example:443" in added.stdout
    assert "agreed" in added.stdout
    assert [row["consented"] for row in listed(config)] == [True]
    text = config.read_text()
    assert 'hosts = ["a.example:443"]' in text
    assert "network" not in text


def test_what_changes_is_asked_about_again(config: Path, server: Path) -> None:
    """L01."""
    call(config, "upstream", "add", "x", "--yes", "--", server)
    server.write_text("#!/bin/sh\nexit 1\n")
    (row,) = listed(config)
    problem = row["problem"]
    assert isinstance(problem, dict)
    assert problem["code"] == "MT2561"
    assert "changed (sha256" in problem["cause"]
    assert call(config, "consent", "approve", "x", "--yes").exit_code == 0
    assert [row["consented"] for row in listed(config)] == [True]


def test_without_a_terminal_nobody_agrees(config: Path, server: Path) -> None:
    call(config, "upstream", "add", "x", "--", server)
    asked = call(config, "consent", "approve", "x")
    assert (asked.exit_code, asked.stderr[:8]) == (77, "MT2567: ")
    assert [row["consented"] for row in listed(config)] == [False]
    assert call(config, "consent", "approve", "x", "--json").exit_code == 2
    answer = json.loads(call(config, "consent", "approve", "x", "--yes", "--json").stdout)
    assert answer["consented"]["argv"] == [str(server)]


@pytest.mark.parametrize(("typed", "code"), [("y\n", 0), ("n\n", 77), ("\n", 77)])
def test_a_person_is_asked(config: Path, server: Path, typed: str, code: int) -> None:
    call(config, "upstream", "add", "x", "--", server)
    done = on_a_terminal(config, "consent", "approve", "x", typed=typed)
    assert done.returncode == code, done.stderr
    assert f"[0] '{server}' (" in done.stdout
    assert [row["consented"] for row in listed(config)] == [code == 0]


def test_dangers_need_more_than_yes(config: Path) -> None:
    """L14."""
    call(config, "upstream", "add", "x", "--", "/bin/sh", "-c", "exit 0")
    plain = call(config, "consent", "approve", "x", "--yes")
    assert (plain.exit_code, plain.stderr[:8]) == (78, "MT2563: ")
    assert "DANGER:  a shell reads an argument as commands" in plain.stdout
    for typed, code in (("y\ny\n", 77), ("x\nn\n", 77), ("x\ny\n", 0)):
        done = on_a_terminal(config, "consent", "approve", "x", typed=typed)
        assert done.returncode == code, done.stderr
        assert [row["consented"] for row in listed(config)] == [code == 0]
    assert call(config, "consent", "approve", "x", "--yes", "--allow-dangerous").exit_code == 0


def test_a_runner_without_a_version_is_refused_until_it_is_allowed(
    config: Path, server: Path
) -> None:
    """L06."""
    runner = server.rename(server.with_name("npx"))
    refused = call(config, "upstream", "add", "x", "--yes", "--", runner, "-y", "pkg")
    assert (refused.exit_code, refused.stderr[:8]) == (78, "MT2562: ")
    allowed = call(
        config, "upstream", "add", "y", "--yes", "--allow-unpinned", "--", runner, "-y", "pkg"
    )
    assert allowed.exit_code == 0, allowed.stderr
    assert "UNPINNED: pkg is fetched" in allowed.stdout
    assert "allow_unpinned = true" in config.read_text()


def test_hidden_text_is_shown_escaped_and_in_full(config: Path, server: Path) -> None:
    """L16."""
    table = f'[[upstream]]\nname = "x"\ncommand = ["{server}", "a\\u202e\\u001b[2J{" " * 5000}b"]\n'
    config.write_text(f"{NONE}\n{table}")
    shown = call(config, "consent", "approve", "x", "--yes").stdout
    assert "'a\\u{202e}\\x1b[2J\\x20{5000}b' (5007 characters)" in shown
    assert shown.isascii()


def test_only_stdio_upstreams_are_agreed_to(config: Path) -> None:
    assert call(config, "consent", "approve", "files", "--yes").stderr.startswith("MT2401: ")
    assert call(config, "consent", "approve", "none", "--yes").stderr.startswith("MT2401: ")
    assert call(config, "consent", "list").stdout == "no stdio upstreams\n"


def test_a_program_that_is_gone_is_listed(config: Path, server: Path) -> None:
    call(config, "upstream", "add", "x", "--yes", "--", server)
    server.unlink()
    (row,) = listed(config)
    problem = row["problem"]
    assert isinstance(problem, dict)
    assert (row["consented"], problem["code"]) == (False, "MT2004")


def test_a_consent_that_cannot_be_kept_is_not_in_the_log(
    config: Path, server: Path, tmp_path: Path
) -> None:
    added = call(config, "upstream", "add", "x", "--yes", "--no-pin", "--", server)
    assert added.exit_code == 0, added.output
    (consents,) = tmp_path.rglob("consents.json")
    log = consents.parent / "audit"
    assert len(records(log, "consent.approved")) == 1
    consents.chmod(0o666)
    refused = call(config, "consent", "approve", "x", "--yes")
    assert refused.exit_code == 78, refused.output
    assert len(records(log, "consent.approved")) == 1
