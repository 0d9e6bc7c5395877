"""`tunnel-client audit`: the shared commands over the client's log; none removes a record."""

from pathlib import Path

from click.testing import CliRunner

from tests.tunnel_client.test_settings import HEAD, HTTP
from tunnel_client.cli import cli


def test_no_record_of_a_client_is_removed_by_command() -> None:
    """A14: nothing here tells two people apart."""
    done = CliRunner().invoke(cli, ["audit", "purge"])
    assert done.exit_code == 77
    assert "MT2590" in done.stderr


def test_a_session_that_is_not_there_is_looked_for_where_sessions_are_listed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "client.toml"
    path.write_text(HEAD + HTTP)
    assert CliRunner().invoke(cli, ["upstream", "remove", "files", "--config", str(path)]).stdout
    done = CliRunner().invoke(cli, ["audit", "replay", "ffff", "--config", str(path)])
    assert done.exit_code == 1
    assert "MT2322: no session of that name" in done.stderr
    assert "next: on the relay: tunnel-relay session list --all" in done.stderr


def test_the_commands_are_those_of_both_programs() -> None:
    listed = CliRunner().invoke(cli, ["audit", "--help"]).stdout
    for command in ("verify", "tail", "query", "replay", "reconcile", "checkpoint", "key"):
        assert f"  {command} " in listed
