"""`tunnel-relay audit purge`: one person asks, another one agrees."""

import json
from functools import partial
from pathlib import Path

import anyio.to_thread
from click.testing import CliRunner, Result

from tests.shared.audit_cli.logs import a_log
from tests.tunnel_relay.admin.test_purging import old_log, stones
from tests.tunnel_relay.console.stage import Stage, a_console
from tunnel_relay.cli import build


async def give(stage: Stage, who: str, *words: str) -> Result:
    env = {"MY_TOKEN": await stage.token(who), "TUNNEL_RELAY_API": stage.url}
    argv = ["audit", "purge", *words, "--token", "env:MY_TOKEN"]
    return await anyio.to_thread.run_sync(partial(CliRunner().invoke, build(), argv, env=env))


async def test_two_people_remove_old_records_by_command(tmp_path: Path) -> None:
    """A14."""
    async with a_console(tmp_path) as stage:
        log = await old_log(stage)
        assert (await give(stage, "ada")).stdout == "nothing waits\n"
        made = await give(stage, "ada", "--before", "2020-01-01", "--reason", "old", "--json")
        wish = json.loads(made.stdout)["id"]
        assert f"{wish}  before 2020-01-01T00:00Z  ada: old" in (await give(stage, "abe")).stdout
        refused = await give(stage, "ada", "--confirm", wish)
        assert refused.exit_code == 77
        assert "MT1154" in refused.stderr
        done = await give(stage, "abe", "--confirm", wish[:12])
        assert "0 files removed" in done.stdout  # nothing is as old as that
        assert stones(log) == []


async def test_a_session_that_is_not_there_is_looked_for_where_sessions_are_listed(
    tmp_path: Path,
) -> None:
    folder = await a_log(tmp_path / "log", calls=1)
    done = CliRunner().invoke(build(), ["audit", "replay", "ffff", "--folder", str(folder)])
    assert done.exit_code == 1
    assert "MT1150: no session of that name" in done.stderr
    assert "next:  tunnel-relay session list --all" in done.stderr


def test_what_is_asked_for_is_one_thing(tmp_path: Path) -> None:
    for words in (("--before", "2020-01-01"), ("--confirm", "x", "--reason", "y")):
        done = CliRunner().invoke(build(), ["audit", "purge", *words])
        assert done.exit_code == 2
        assert "give --before and --reason" in done.stderr
