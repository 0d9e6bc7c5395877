"""`tunnel-client policy ...` on real files, with real exit codes."""

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.tunnel_client.test_settings import HEAD, HTTP, STDIO
from tunnel_client.cli import cli

BROKEN = "version: 1\nrules:\n- {id: a, mach: {}, efect: allow}\n"


class Shell:
    """Gives policy commands to one client."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "client.toml"
        self.config.write_text(HEAD + HTTP + STDIO)
        self.policy = folder / "policy.yaml"

    def run(self, *words: str | Path, code: int = 0) -> Result:
        line = ["policy", *map(str, words), "--config", str(self.config)]
        result = CliRunner().invoke(cli, line)
        assert result.exit_code == code, result.output
        return result


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    made = Shell(tmp_path)
    made.run("init")
    return made


def test_init_writes_a_policy_that_check_takes_and_never_overwrites(shell: Shell) -> None:
    assert stat.S_IMODE(shell.policy.stat().st_mode) == 0o600
    assert shell.run("check").stdout.startswith(f"ok: {shell.policy}: 5 rules, digest ")
    shell.policy.write_text("mine")
    assert "MT2506" in shell.run("init", code=1).stderr
    assert shell.policy.read_text() == "mine"


def test_the_place_of_the_policy_is_a_setting(shell: Shell) -> None:
    shell.config.write_text('policy = "other/p.yaml"\n' + HEAD + HTTP)
    assert "MT2500" in shell.run("check", code=78).stderr
    shell.run("init")
    assert (shell.folder / "other" / "p.yaml").exists()


def test_check_tells_every_fault_with_its_line(shell: Shell) -> None:
    place = shell.folder / "draft.yaml"
    place.write_text(BROKEN)
    said = shell.run("check", place, code=78).stderr
    assert "MT2504" in said
    assert f"{place}:3: rules[0].mach: unknown key; did you mean rules[0].match?" in said
    assert "did you mean rules[0].effect?" in said
    answer = json.loads(shell.run("check", place, "--json", code=78).stdout)
    assert answer["ok"] is False
    assert {each["line"] for each in answer["problems"]} == {3}


def test_check_answers_in_json(shell: Shell) -> None:
    answer = json.loads(shell.run("check", "--json").stdout)
    assert (answer["ok"], answer["rules"], len(answer["digest"])) == (True, 5, 64)


def test_fixtures_pass_or_end_with_1(shell: Shell) -> None:
    calls = shell.folder / "calls.yaml"
    call = "- {user: a, agent: b, server: crm, tool: get, class: read, expect: allow}\n"
    calls.write_text(call)
    assert "1 calls, 0 not as expected" in shell.run("test", calls).stdout
    calls.write_text(call + call.replace("read", "write"))
    assert "FAIL" in shell.run("test", calls, code=1).stdout
    answer = json.loads(shell.run("test", calls, "--json", code=1).stdout)
    assert [each["passed"] for each in answer["calls"]] == [True, False]
    calls.write_text("- {}")
    assert "MT2505" in shell.run("test", calls, code=2).stderr
    assert "MT2505" in shell.run("test", shell.folder / "none.yaml", code=2).stderr


def test_the_map_shows_pinned_tools_of_the_configured_upstreams(shell: Shell) -> None:
    place = shell.folder / "state" / "pins.json"
    place.parent.mkdir(mode=0o700)
    tools = {"look": {"class": "read"}}
    pins = {"version": 1, "upstreams": {"files": {"tools": tools}, "gone": {"tools": tools}}}
    place.write_text(json.dumps(pins))
    place.chmod(0o600)
    who = ("--user", "alice", "--agent", "claude")
    lines = [line.split() for line in shell.run("test", *who).stdout.splitlines()]
    assert lines[1][:4] == ["files", "look", "read", "allow"]
    rows = json.loads(shell.run("test", *who, "--json").stdout)["map"]
    assert {row["server"] for row in rows} == {"files", "time"}
    rows = json.loads(shell.run("test", *who, "--server", "time", "--json").stdout)["map"]
    assert {row["server"] for row in rows} == {"time"}


def test_the_map_can_be_a_page(shell: Shell) -> None:
    page = shell.folder / "map.html"
    who = ("--user", "<i>", "--agent", "claude", "--group", "ops", "--html", page)
    assert str(page) in shell.run("test", *who).stdout
    assert "&lt;i&gt;" in page.read_text()
    assert "<i>" not in page.read_text()
    gone = shell.folder / "none" / "map.html"
    assert "MT2105" in shell.run("test", *who[:-1], gone, code=69).stderr


@pytest.mark.parametrize("words", [(), ("x.yaml", "--user", "a", "--agent", "b"), ("--user", "a")])
def test_a_test_of_nothing_is_wrong_use(shell: Shell, words: tuple[str, ...]) -> None:
    shell.run("test", *words, code=2)


def test_another_policy_can_be_tried(shell: Shell) -> None:
    other = shell.folder / "open.yaml"
    other.write_text("version: 1\nrules: [{id: all, match: {}, effect: allow}]\n")
    who = ("--user", "a", "--agent", "b", "--policy", other, "--server", "x", "--json")
    rows = json.loads(shell.run("test", *who).stdout)["map"]
    assert rows[5]["class"] == "break_glass"
    assert rows[5]["effects"] == ["allow"]
