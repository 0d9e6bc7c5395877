"""What a client adds to the report: kinds and levels, never a value."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from shared.audit.log import AuditLog
from shared.keys import PrivateKey, encode_public
from shared.record import encode
from tunnel_client.cli import cli
from tunnel_client.errors import NotEnrolledError
from tunnel_client.identity import Identity
from tunnel_client.policy.default import default_policy
from tunnel_client.report import gather
from tunnel_client.settings import load_settings

CANARY = "canary-6bc1bee22e409f96"
CONFIG = """\
state_dir = {state}

[relay]
url = "wss://relay.example.com"
tunnel = "office"
public_key = {key}

[[upstream]]
name = "wiki"
url = "https://wiki.internal/mcp/{canary}?key={canary}"
credential = {{ kind = "bearer", origin = "https://wiki.internal", value = {value} }}

[[upstream]]
name = "plain"
url = "http://10.1.2.3:8080/mcp"
pinning = "off"

[[upstream]]
name = "own"
url = "unix:/run/{canary}.sock:/mcp"

[upstream.credential]
kind = "basic"
origin = "unix:/run/{canary}.sock"
user = "u"
value = "file:/x/{{user}}"
lists_as = "ada"
scrub = false

[[upstream]]
name = "local"
command = ["sh", "-c", "echo {canary}"]
env = {{ TOKEN = "{canary}" }}

[upstream.sandbox]
level = "off"
"""


def a_client(folder: Path) -> Path:
    """Write an enrolled client's files; returns its configuration."""
    state = folder / "state"
    state.mkdir(mode=0o700)
    Identity.create(state).save()
    secret = folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text(CANARY)
    config = folder / "client.toml"
    config.touch(mode=0o600)
    config.write_text(
        CONFIG.format(
            state=json.dumps(str(state)),
            key=json.dumps(encode_public(PrivateKey.generate().public)),
            value=json.dumps(f"file:{secret}"),
            canary=CANARY,
        )
    )
    (folder / "policy.yaml").touch(mode=0o600)
    (folder / "policy.yaml").write_text(default_policy())
    return config


def gathered(config: Path) -> dict[str, Any]:
    return gather(load_settings(config, {}), dict(os.environ))


def test_kinds_and_levels_are_told_and_no_value(tmp_path: Path) -> None:
    found = gathered(a_client(tmp_path))
    ups = {each["name"]: each for each in found["upstreams"]}
    assert (ups["wiki"]["credential"], ups["wiki"]["target"]) == ("bearer", "https://wiki.internal")
    assert (ups["wiki"]["for_each_user"], ups["wiki"]["scrubbed"]) == (False, True)
    assert (ups["plain"]["in_clear"], ups["plain"]["pinning"]) == (True, False)
    assert (ups["own"]["target"], ups["own"]["in_clear"]) == ("a Unix socket", False)
    assert (ups["own"]["for_each_user"], ups["own"]["scrubbed"]) == (True, False)
    local = ups["local"]
    assert (local["target"], local["caged"], local["variables"]) == ("sh", False, 1)
    assert local["sandbox"].startswith("UNSANDBOXED")
    assert local["consent"].startswith("MT2")
    assert found["policy"]["problem"] is None
    assert CANARY not in json.dumps(found).replace(str(tmp_path), "")


def test_files_that_others_can_read_are_told(tmp_path: Path) -> None:
    config = a_client(tmp_path)
    assert [each for each in gathered(config)["files"] if each["open"]] == []
    (tmp_path / "secret").chmod(0o644)
    (opened,) = [each for each in gathered(config)["files"] if each["open"]]
    assert opened["what"] == "credential of wiki"
    assert opened["mode"] == "0644"


def test_a_log_that_is_not_there_and_a_policy_that_is_broken_are_told(tmp_path: Path) -> None:
    config = a_client(tmp_path)
    (tmp_path / "policy.yaml").write_text("rules: [")
    found = gathered(config)
    assert found["policy"]["text"] is None
    assert found["policy"]["problem"].startswith("MT2")
    assert "cannot be read" in found["audit"]["problem"]


async def test_a_log_whose_calls_do_not_fit_together_is_told_with_its_record(
    tmp_path: Path,
) -> None:
    config = a_client(tmp_path)
    log = AuditLog(load_settings(config, {}).audit_folder, "tests/log")
    log.add("call.completion", {"call": "odd.1", "intent": 1, "result": "ok"})
    assert log.close() is None
    found = gathered(config)["audit"]
    assert (found["ok"], found["first_bad"]) == (False, 1)
    assert found["reason"] == "ended without an intent: odd.1"


async def test_a_log_that_is_not_signed_is_told_as_not_proven(tmp_path: Path) -> None:
    config = a_client(tmp_path)
    folder = load_settings(config, {}).audit_folder
    log = AuditLog(folder, "tests/log")
    for second in range(300):
        log.take(encode.event("test", {}, log.size, second * 1_000_000))
    assert log.close() is None
    (folder / "checkpoints").unlink()
    found = gathered(config)["audit"]
    assert (found["ok"], found["first_bad"], found["reason"]) == (False, None, None)
    assert found["unproven"].startswith("no checkpoint vouches for records 0 to 301")


def test_who_is_not_enrolled_has_nothing_to_add(tmp_path: Path) -> None:
    config = a_client(tmp_path)
    (tmp_path / "state" / "client.key").unlink()
    with pytest.raises(NotEnrolledError):
        gathered(config)


def test_the_command_says_it_for_people_and_for_the_relay(tmp_path: Path) -> None:
    config = a_client(tmp_path)
    done = CliRunner().invoke(cli, ["report", "--json", "--config", str(config)])
    assert json.loads(done.stdout)["kind"] == "tunnel-client report"
    people = CliRunner().invoke(cli, ["report", "--config", str(config)]).stdout
    assert "credential=bearer" in people
    assert "default: deny" not in people
    assert CANARY not in people.replace(str(tmp_path), "")
