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
    refused = shell.run("user", "add", "ada", "--no-password", code=1).stderr
    assert "MT1041" in refused
    assert "user change" in refused
    assert "user password" in refused


def test_a_user_is_changed_shown_and_switched_off(shell: Shell) -> None:
    shell.run("user", "add", "ada", "--no-password", "--server", "office/*", "--role", "auditor")
    assert shell.run("user", "change", "ada", "--no-servers").stdout == "ada is changed\n"
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


def test_an_admin_token_is_made_listed_and_ended(shell: Shell) -> None:
    shell.run("user", "add", "ada", "--no-password", "--role", "admin")
    assert "MT1040" in shell.run("user", "token", "nobody", code=1).stderr
    assert "MT1024" in shell.run("user", "token", "ada", "--ttl", "91d", code=2).stderr
    said = shell.run("user", "token", "ada", "--ttl", "8h", "--name", "nightly report").stdout
    token = said.split()[0]
    assert token.startswith("mta_")
    listed = shell.run("user", "tokens", "ada").stdout
    assert "nightly report" in listed
    assert token not in listed
    (shown,) = shell.json("user", "tokens")["tokens"]
    assert round(shown["expires"] - shown["created"]) == 8 * 3600
    assert f"token-revoke {shown['id'][:12]}" in said
    assert "works no more" in shell.run("user", "token-revoke", shown["id"][:12]).stdout
    assert "no admin tokens" in shell.run("user", "tokens").stdout
    assert "MT1057" in shell.run("user", "token-revoke", shown["id"], code=1).stderr


def test_passkeys_are_listed_and_never_added_from_here(shell: Shell) -> None:
    assert shell.json("user", "passkeys")["passkeys"] == []
    assert shell.run("user", "passkeys").stdout == "no passkeys\n"
    assert "MT1290" in shell.run("user", "passkey-remove", "abcdef", code=1).stderr
