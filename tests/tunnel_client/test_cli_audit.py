"""`tunnel-client audit`: the shared commands over the client's log; none removes a record."""

from click.testing import CliRunner

from tunnel_client.cli import cli


def test_no_record_of_a_client_is_removed_by_command() -> None:
    """A14: nothing here tells two people apart."""
    done = CliRunner().invoke(cli, ["audit", "purge"])
    assert done.exit_code == 77
    assert "MT2590" in done.stderr


def test_the_commands_are_those_of_both_programs() -> None:
    listed = CliRunner().invoke(cli, ["audit", "--help"]).stdout
    for command in ("verify", "tail", "query", "replay", "reconcile", "checkpoint", "key"):
        assert f"  {command} " in listed
