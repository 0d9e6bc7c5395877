"""`tunnel-relay tool ...` against a relay's control socket, and where none runs."""

import json
from functools import partial
from pathlib import Path

import anyio.to_thread
from click.testing import CliRunner, Result

from shared.policy.classes import ToolClass
from shared.wire.tools import PinState
from tests.tunnel_relay.making import RecordedLinks, an_admin
from tests.tunnel_relay.test_cli import Shell
from tests.tunnel_relay.test_tools import ONE, TWO, told, word
from tunnel_relay.admin.control import serve_control
from tunnel_relay.cli import build


async def ask(folder: Path, *words: str) -> Result:
    """Give a command beside the relay that serves in this loop."""
    argv = [*words, "--config", str(folder / "relay.toml")]
    return await anyio.to_thread.run_sync(partial(CliRunner().invoke, build(), argv))


async def test_tools_are_listed_shown_and_compared(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        links = admin.links = RecordedLinks()
        await admin.tunnel_create("office", "uma")
        other = word("put", ToolClass.WRITE, definition='{"name":"put"}')
        fresh = word("fresh", None, state=PinState.NEW, definition="")
        many = [word(f"tool_{number:04}") for number in range(1500)]
        links.offered = [told(ONE, *many, word("put"), fresh), told(TWO, *many, other, fresh)]
        async with serve_control(admin, admin.settings.control_socket):
            listed = await ask(tmp_path, "tool", "list", "--json")
            rows = json.loads(listed.stdout)["tools"]
            assert len(rows) == 1502
            few = (await ask(tmp_path, "tool", "list", "office/git", "--state", "differs")).stdout
            assert [line.split("\t")[1:4] for line in few.splitlines()[1:]] == [
                ["put", "read", "DIFFERS"],
                [f"  at {ONE[:12]}", "read", "pinned"],
                [f"  at {TWO[:12]}", "write", "pinned"],
            ]
            found = (await ask(tmp_path, "tool", "list", "--query", "fresh")).stdout
            assert "office/git\tfresh\t-\tnew" in found
            shown = await ask(tmp_path, "tool", "show", "office/git", "put")
            assert "DIFFERS" in shown.stdout
            as_json = await ask(tmp_path, "tool", "show", "office/git", "put", "--json")
            assert len(json.loads(as_json.stdout)["tool"]["definitions"]) == 2
            diff = (await ask(tmp_path, "tool", "diff", "office/git", "put")).stdout
            assert '-  "name": "look"\n+  "name": "put"' in diff
            one = await ask(tmp_path, "tool", "diff", "office/git", "fresh")
            assert "tunnel-client tool pin git" in one.stdout
            missing = await ask(tmp_path, "tool", "show", "office/git", "none")
            assert (missing.exit_code, missing.stderr[:6]) == (1, "MT1110")


def test_where_no_relay_runs_no_client_tells_anything(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.init("--public-url", "https://relay.example.com")
    assert shell.json("tool", "list")["tools"] == []
    assert "no connected client" in shell.run("tool", "list").stdout
    assert "MT1020" in shell.run("tool", "list", "office/git", code=1).stderr


def test_a_class_is_given_at_the_private_side() -> None:
    words = ["tool", "classify", "office/git", "drop it", "admin"]
    said = CliRunner().invoke(build(), words)
    assert said.exit_code == 77
    assert "MT1111: type there: tunnel-client tool classify git 'drop it' admin" in said.stderr
