"""`user` and `agent` as a person types them."""

from pathlib import Path

from tests.tunnel_relay.test_cli import Shell, shell

__all__ = ["shell"]

CALLBACK = "http://127.0.0.1/callback"


def test_a_user_comes_with_a_password_from_a_pipe_and_never_from_an_argument(shell: Shell) -> None:
    said = shell.run("user", "add", "ada", "--password-file", "-", stdin="correct horse battery\n")
    assert "ada is added (user)" in said.stdout
    assert "user change ada --server" in said.stdout
    (shown,) = shell.json("user", "list")["users"]
    assert shown["login"] is True
    assert (
        "MT1043"
        in shell.run("user", "password", "ada", "--password-file", "-", code=2, stdin="x\n").stderr
    )
    assert "--password-file" in shell.run("user", "add", "bob", code=2).stderr
    assert "MT1041" in shell.run("user", "add", "ada", "--no-password", code=1).stderr


def test_a_user_is_changed_shown_and_switched_off(shell: Shell) -> None:
    shell.run("user", "add", "ada", "--no-password", "--server", "office/*", "--role", "auditor")
    assert "0 sessions ended" in shell.run("user", "change", "ada", "--no-servers").stdout
    assert "issuer" in shell.run("user", "show", "ada").stdout
    assert shell.json("user", "show", "ada")["user"]["servers"] == []
    assert "ada is disabled" in shell.run("user", "disable", "ada").stdout
    assert "disabled" in shell.run("user", "list").stdout
    assert "ada is enabled" in shell.run("user", "enable", "ada").stdout
    assert "MT1040" in shell.run("user", "show", "nobody", code=1).stderr


def test_an_agent_is_registered_with_a_secret_shown_once(shell: Shell) -> None:
    said = shell.run("agent", "add", "bot", "--redirect-uri", CALLBACK, "--secret").stdout
    secret = said.split()[0]
    assert secret.startswith("mtc_")
    assert secret not in shell.run("agent", "list").stdout
    assert "bot is disabled" in shell.run("agent", "disable", "bot").stdout
    assert shell.json("agent", "enable", "bot")["agent"]["disabled"] is None
    assert "MT1046" in shell.run("agent", "add", "bot", "--redirect-uri", CALLBACK, code=1).stderr


def test_the_listings_are_empty_at_first(shell: Shell, tmp_path: Path) -> None:
    assert "no users" in shell.run("user", "list").stdout
    assert "no agents" in shell.run("agent", "list").stdout
