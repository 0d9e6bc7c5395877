"""`tunnel-relay policy ...` on real files, with real exit codes."""

import json
import stat
from pathlib import Path

import pytest

from tests.tunnel_relay.test_cli import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    made = Shell(tmp_path)
    made.init("--public-url", "https://relay.example.com")
    (tmp_path / "relay-policy.yaml").unlink()
    made.run("policy", "init")
    return made


def test_init_writes_a_policy_that_check_takes_and_never_overwrites(shell: Shell) -> None:
    place = shell.folder / "relay-policy.yaml"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert shell.run("policy", "check").stdout.startswith(f"ok: {place}: 1 rules, digest ")
    assert "MT1005" in shell.run("policy", "init", code=1).stderr


def test_the_place_of_the_policy_is_a_setting(shell: Shell) -> None:
    other = shell.folder / "other" / "p.yaml"
    shell.config.write_text(f'policy = "{other}"\n' + shell.config.read_text())
    assert "MT1100" in shell.run("policy", "check", code=78).stderr
    shell.run("policy", "init")
    assert other.exists()


def test_check_tells_every_fault_with_its_line(shell: Shell) -> None:
    place = shell.folder / "draft.yaml"
    place.write_text("version: 1\nrules:\n- {id: a, mach: {}, efect: allow}\n")
    said = shell.run("policy", "check", str(place), code=78).stderr
    assert "MT1101" in said
    assert f"{place}:3: rules[0].mach: unknown key; did you mean rules[0].match?" in said
    answer = shell.run("policy", "check", str(place), "--json", code=78).stdout
    assert json.loads(answer)["ok"] is False
    assert shell.json("policy", "check")["ok"] is True


def test_fixtures_pass_or_end_with_1(shell: Shell) -> None:
    calls = shell.folder / "calls.yaml"
    call = "- {user: a, agent: b, server: shop/crm, tool: get, class: read, expect: allow}\n"
    calls.write_text(call)
    assert "1 calls, 0 not as expected" in shell.run("policy", "test", str(calls)).stdout
    assert shell.json("policy", "test", str(calls))["ok"] is True
    calls.write_text(call.replace("expect: allow", "expect: deny"))
    assert "FAIL" in shell.run("policy", "test", str(calls), code=1).stdout
    calls.write_text("- {}")
    assert "MT1102" in shell.run("policy", "test", str(calls), code=2).stderr
    missing = str(shell.folder / "none.yaml")
    assert "MT1102" in shell.run("policy", "test", missing, code=2).stderr


def test_the_map_is_by_class_as_text_json_and_page(shell: Shell) -> None:
    who = ("policy", "test", "--user", "<i>", "--agent", "claude", "--group", "ops")
    lines = shell.run(*who).stdout.splitlines()
    assert lines[1].split() == ["(any)", "(any)", "tool", "read", "allow", "what-sessions-open"]
    answer = shell.json(*who, "--server", "shop/crm")
    assert {row["server"] for row in answer["map"]} == {"shop/crm"}
    page = shell.folder / "map.html"
    assert str(page) in shell.run(*who, "--html", str(page)).stdout
    assert "<i>" not in page.read_text()
    gone = str(shell.folder / "none" / "map.html")
    assert "MT1003" in shell.run(*who, "--html", gone, code=78).stderr


@pytest.mark.parametrize("words", [(), ("x.yaml", "--user", "a", "--agent", "b"), ("--user", "a")])
def test_a_test_of_nothing_is_wrong_use(shell: Shell, words: tuple[str, ...]) -> None:
    shell.run("policy", "test", *words, code=2)


def test_the_map_is_of_the_user_that_the_relay_knows(shell: Shell) -> None:
    shell.run("tunnel", "create", "shop", "--owner", "ops")
    words = ("user", "add", "uma", "--group", "support", "--server", "shop/crm")
    shell.run(*words, "--password-file", "-", stdin="correct horse battery\n")
    place = shell.folder / "relay-policy.yaml"
    rule = "- {id: look, match: {class: read, group: support}, effect: allow}\n"
    place.write_text(f"version: 1\nrules:\n{rule}")
    answer = shell.json("policy", "test", "--user", "uma", "--agent", "claude")
    assert (answer["known"], answer["groups"]) == (True, ["support"])
    reads = [row for row in answer["map"] if row["class"] == "read"]
    assert [(row["server"], row["effects"]) for row in reads] == [("shop/crm", ["allow"])]
    stranger = shell.run("policy", "test", "--user", "eve", "--agent", "claude")
    assert "nobody here is known so" in stranger.stderr
    assert "allow" not in stranger.stdout


def test_a_map_is_shown_where_no_relay_can_be_asked(shell: Shell) -> None:
    (shell.folder / "state" / "relay.key").unlink()
    shown = shell.run("policy", "test", "--user", "uma", "--agent", "claude")
    assert "the relay was not asked" in shown.stderr
    assert "what-sessions-open" in shown.stdout
