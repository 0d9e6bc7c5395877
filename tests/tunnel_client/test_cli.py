"""The command as people and scripts meet it: what it prints, how it ends, what it never loads."""

import asyncio
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import anyio
import pytest
from click.testing import CliRunner, Result

from shared.ids import JOIN_PREFIX, new_token
from tests.helpers.audit_log import records
from tests.helpers.tls import Authority
from tests.tunnel_client.test_enroll import WELCOME, Relay
from tests.tunnel_client.test_settings import HEAD, HTTP, STDIO
from tunnel_client.cli import cli
from tunnel_client.control import SOCKET_FILE, ControlServer
from tunnel_client.identity import Identity, StateLock
from tunnel_client.policy.start import write_default

CODE = new_token(JOIN_PREFIX)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "client.toml"
    path.write_text(HEAD + HTTP + STDIO)
    return path


def call(*words: str | Path, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], input=stdin)


def enrolled(config: Path) -> None:
    with StateLock(config.parent / "state"):
        Identity.create(config.parent / "state").save()
    write_default(config.parent / "policy.yaml")


@pytest.mark.parametrize(
    "words", ["", "enroll", "run", "status", "check-config", "upstream", "upstream add"]
)
def test_every_command_explains_itself(words: str) -> None:
    result = call(*words.split(), "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


def test_help_loads_nothing_heavy() -> None:
    heavy = [
        "mcp",
        "websockets",
        "cryptography",
        "pydantic",
        "anyio",
        "asyncio",
        "structlog",
        "rich",
    ]
    script = (
        "import sys\nfrom tunnel_client.cli import cli\n"
        "cli(['--help'], standalone_mode=False)\n"
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.stderr.strip() == "[]"


def test_the_sdk_is_not_loaded_by_any_module_of_the_cold_side() -> None:
    names = ["cli", "enroll", "checks", "upstream_probe", "upstream_file", "control", "render"]
    script = "import sys\n" + "".join(f"import tunnel_client.{name}\n" for name in names)
    script += "print('mcp' in sys.modules or 'mcp_types' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_a_wrong_word_is_a_matter_of_usage(config: Path) -> None:
    assert call("frobnicate").exit_code == 2
    assert call("run", "--no-such-option").exit_code == 2
    assert call("upstream", "add", "x", "--config", config).exit_code == 2
    assert (
        call("upstream", "add", "x", "--url", "http://h/", "--config", config, "--", "y").exit_code
        == 2
    )


def test_a_bad_configuration_ends_with_78_file_line_and_nearest_key(config: Path) -> None:
    config.write_text(HEAD + HTTP.replace("name", "nmae"))
    result = call("check-config", "--config", config)
    assert result.exit_code == 78
    assert result.stderr.startswith("MT2001: ")
    assert f"{config}:7: " in result.stderr
    assert "did you mean upstream[0].name" in result.stderr
    assert result.stdout == ""


def test_a_configuration_nested_too_deeply_is_a_bad_one(config: Path) -> None:
    config.write_text(f"x = {'[' * 20_000}")
    result = call("check-config", "--config", config)
    assert result.exit_code == 78
    assert result.stderr.startswith(f"MT2001: {config}: not TOML: nested too deeply\n")


def test_check_config_lists_all_that_is_wrong_in_both_forms(config: Path) -> None:
    result = call("check-config", "--config", config)
    assert result.exit_code == 78
    assert "MT2101" in result.stderr
    assert "MT2500" in result.stderr
    listed = json.loads(call("check-config", "--json", "--config", config).stdout)
    assert (listed["schema_version"], listed["ok"]) == (1, False)
    assert [problem["code"] for problem in listed["problems"]] == ["MT2101", "MT2500", "MT2560"]
    assert [each["name"] for each in listed["stdio"]] == ["time"]


def test_check_config_says_what_would_be_served(config: Path) -> None:
    enrolled(config)
    agree = ("consent", "approve", "time", "--yes", "--allow-dangerous")
    assert call(*agree, "--config", config).exit_code == 0
    result = call("check-config", "--config", config)
    assert (result.exit_code, result.stderr) == (0, "")
    sandbox, served = result.stdout.splitlines()
    assert sandbox.startswith("time: "), "how far its sandbox goes"
    assert served == "ok: tunnel office at wss://relay.example, 2 upstream(s): files, time"
    assert json.loads(call("check-config", "--json", "--config", config).stdout)["ok"]


def test_upstreams_are_added_and_listed(config: Path) -> None:
    assert (
        "added git"
        in call(
            "upstream",
            "add",
            "git",
            "--config",
            config,
            "--inherit-env",
            "TZ",
            "--",
            "sh",
            "-q",
            "x",
        ).stdout
    )
    assert (
        call("upstream", "add", "web", "--config", config, "--url", "https://h/mcp").exit_code == 0
    )
    text = call("upstream", "list", "--config", config).stdout
    assert "git                  stdio  sh -q x\n" in text
    rows = json.loads(call("upstream", "list", "--json", "--config", config).stdout)
    assert [row["name"] for row in rows["upstreams"]] == ["files", "time", "git", "web"]
    refused = call("upstream", "add", "web", "--config", config, "--url", "https://h/mcp")
    assert refused.exit_code == 78
    assert "two upstreams are called web" in refused.stderr


def test_an_upstream_that_was_refused_is_not_in_the_log(config: Path) -> None:
    added = ("upstream", "add", "--config", config)
    assert call(*added, "web", "--url", "https://h/mcp").exit_code == 0
    for words in (("web", "--url", "https://h/mcp"), ("x", "--url", "file:///etc/passwd")):
        assert call(*added, *words).exit_code == 78
    assert call(*added, "y", "--url", "http://h/", "--credential", "bearer").exit_code != 0
    (log,) = config.parent.rglob("audit")
    assert [each["upstream"] for each in records(log, "upstream.added")] == ["web"]


def test_a_program_that_is_not_there_is_not_added(config: Path) -> None:
    before = config.read_text()
    typo = call("upstream", "add", "nope", "--config", config, "--", "/opt/mcp/bin/no-such-server")
    assert (typo.exit_code, typo.stdout) == (78, "")
    assert typo.stderr.startswith("MT2004: upstream nope: no program '/opt/mcp/bin/no-such-server'")
    assert config.read_text() == before
    logged = call("audit", "query", "--kind", "upstream.", "--config", config)
    assert "upstream.added" not in logged.stdout


def test_variables_of_a_program_are_added(config: Path) -> None:
    add = ("upstream", "add", "git", "--config", config)
    given = ("--env", "TZ=UTC", "--env", "TOKEN=file:/etc/creds/git", "--env", "EMPTY=")
    done = call(*add, *given, "--", "sh")
    assert done.exit_code == 0, done.stderr
    added = tomllib.loads(config.read_text())["upstream"][-1]
    assert added["env"] == {"TZ": "UTC", "TOKEN": "file:/etc/creds/git", "EMPTY": ""}
    for wrong in (("--env", "TZ"), ("--env", "=x"), ("--env", "A=1", "--env", "A=2")):
        refused = call("upstream", "add", "x", "--config", config, *wrong, "--", "sh")
        assert refused.exit_code == 2
        assert "--env takes NAME=VALUE, each name once" in refused.stderr
    with_url = call(
        "upstream", "add", "x", "--config", config, "--env", "A=1", "--url", "http://h/"
    )
    assert (with_url.exit_code, with_url.stderr[:8]) == (78, "MT2001: ")


def test_an_upstream_is_removed_and_it_says_what_stays(config: Path) -> None:
    done = call("upstream", "remove", "time", "--config", config)
    assert (done.exit_code, done.stderr) == (0, "")
    assert f"removed time from {config}" in done.stdout
    assert "serves it until it is started again" in done.stdout
    assert f"stay in {config.parent / 'state'}" in done.stdout
    again = call("upstream", "remove", "time", "--config", config)
    assert (again.exit_code, again.stderr[:8]) == (1, "MT2401: ")
    answer = json.loads(call("upstream", "remove", "files", "--json", "--config", config).stdout)
    assert answer == {"schema_version": 1, "name": "files", "config": str(config)}
    rows = json.loads(call("upstream", "list", "--json", "--config", config).stdout)
    assert rows["upstreams"] == []
    logged = call("audit", "query", "--kind", "upstream.removed", "--config", config)
    assert [line.partition("upstream=")[2] for line in logged.stdout.splitlines()] == [
        "time",
        "files",
    ]


def test_no_upstreams_says_how_to_add_one(config: Path) -> None:
    config.write_text(HEAD)
    assert "tunnel-client upstream add" in call("upstream", "list", "--config", config).stdout


def test_testing_an_upstream_that_is_down_or_unknown_fails(config: Path) -> None:
    config.write_text(HEAD + HTTP.replace("127.0.0.1:3000", "127.0.0.1:1"))
    down = call("upstream", "test", "files", "--config", config)
    assert (down.exit_code, down.stderr[:8]) == (1, "MT2402: ")
    unknown = call("upstream", "test", "nope", "--config", config)
    assert (unknown.exit_code, unknown.stderr[:8]) == (1, "MT2401: ")


def test_an_answer_in_json_is_all_there_is_on_standard_output(config: Path) -> None:
    config.write_text(
        HEAD
        + f'[[upstream]]\nname = "t"\ncommand = ["{sys.executable}", "-m", "mcp_server_time"]\n'
    )
    assert call("consent", "approve", "t", "--yes", "--config", config).exit_code == 0
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tunnel_client.cli",
            "upstream",
            "test",
            "t",
            "--json",
            "--config",
            config,
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["modern"] == ["2026-07-28"]


def test_status_without_a_daemon_says_so(config: Path) -> None:
    result = call("status", "--config", config)
    assert (result.exit_code, result.stderr[:8]) == (69, "MT2106: ")
    assert "tunnel-client run" in result.stderr


async def test_status_asks_the_daemon(config: Path) -> None:
    state = config.parent / "state"
    state.mkdir(0o700)
    with anyio.fail_after(30):
        async with ControlServer(state / SOCKET_FILE, lambda: {"connected": False}):
            text = await asyncio.to_thread(call, "status", "--config", config)
            answer = await asyncio.to_thread(call, "status", "--json", "--config", config)
    assert text.exit_code == 0
    assert text.stdout.startswith("LINK     NOT CONNECTED to ")
    assert json.loads(answer.stdout) == {"schema_version": 1, "connected": False}


async def test_enrolling_with_a_code_from_standard_input(tmp_path: Path) -> None:
    relay = Relay(Authority())
    relay.says(200, WELCOME)
    relay.authority.write(tmp_path / "ca.pem")
    config = tmp_path / "etc" / "client.toml"
    with anyio.fail_after(30):
        async with relay.listening():
            words: list[str | Path] = [
                "enroll",
                f"wss://localhost:{relay.port}",
                "--ca-file",
                tmp_path / "ca.pem",
            ]
            places: list[str | Path] = ["--config", config, "--state-dir", tmp_path / "state"]

            def enroll(*more: str | Path) -> Result:
                return call(*words, *places, *more, stdin=f"{CODE}\n")

            first = await asyncio.to_thread(enroll, "--join-code-file", "-")
            again = await asyncio.to_thread(enroll, "--join-code-file", "-")
            code_file = tmp_path / "code"
            code_file.write_text(f"{CODE}\n")
            forced = await asyncio.to_thread(enroll, "--join-code-file", code_file, "--force")
    assert first.exit_code == 0, first.stderr
    assert "Enrolled in tunnel office" in first.stdout
    assert f"tunnel-client run --config {config}" in first.stdout
    assert (again.exit_code, again.stderr[:8]) == (1, "MT2104: ")
    assert forced.exit_code == 0
    assert len(relay.asked) == 2
    assert all(CODE not in result.output for result in (first, again, forced))


@pytest.mark.parametrize(
    ("words", "stdin", "code"),
    [
        (["wss://h"], CODE, 2),
        (["wss://h", "--join-code-file", "-"], "hunter2", 2),
        (["wss://h", "--join-code-file", "/no/such/file"], None, 2),
        (["ws://h.example", "--join-code-file", "-"], CODE, 78),
        (["wss://h", CODE], None, 2),
    ],
)
def test_an_enrolment_that_cannot_be_is_refused_before_anything_happens(
    tmp_path: Path, words: list[str], stdin: str | None, code: int
) -> None:
    places: list[str | Path] = ["--config", tmp_path / "c.toml", "--state-dir", tmp_path / "state"]
    result = call("enroll", *words, *places, stdin=stdin)
    assert result.exit_code == code, result.output
    assert "hunter2" not in result.output
    assert not (tmp_path / "state").exists()


def test_run_is_refused_without_an_enrolment(config: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tunnel_client.cli", "run", "--config", config],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONWARNINGS": "default"},
    )
    assert done.returncode == 78
    assert done.stderr.startswith("MT2101: ")
