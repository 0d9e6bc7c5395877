"""Anything that is not as it was agreed to is not started, and the refusal says what it is."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tests.helpers.sandboxes import BARE, agree, agreed
from tunnel_client.consent.guard import Guard, Guards
from tunnel_client.errors import ClientError, NoProgramError
from tunnel_client.errors_upstreams import (
    ConsentChangedError,
    DangerousCommandError,
    NotConsentedError,
    SandboxMissingError,
    SandboxPathError,
    UnpinnedCommandError,
)
from tunnel_client.sandbox.machine import Machine
from tunnel_client.settings import UpstreamSettings
from tunnel_client.settings_sandbox import SandboxSettings

FULL = Machine("/usr/bin/bwrap", 7)
ENVIRON = {"PATH": "/usr/bin:/bin", "HOME": "/home/nobody"}


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """A program of its own folder."""
    place = tmp_path / "install" / "server"
    place.parent.mkdir()
    place.write_text("#!/bin/sh\nexit 0\n")
    place.chmod(0o755)
    return place


def upstream(server: Path, **more: Any) -> UpstreamSettings:
    settings = {"name": "x", "command": [str(server), "--flag"], **more}
    return UpstreamSettings.model_validate(settings)


def guard(tmp_path: Path, settings: UpstreamSettings, machine: Machine = FULL) -> Guard:
    state = tmp_path / "state"
    return Guards(state, (state,), machine).of(settings, ENVIRON)


def refusal(tmp_path: Path, settings: UpstreamSettings, machine: Machine = FULL) -> ClientError:
    found = guard(tmp_path, settings, machine).refusal()
    assert found is not None
    return found


def test_without_an_agreement_nothing_starts(tmp_path: Path, server: Path) -> None:
    """L01."""
    found = refusal(tmp_path, upstream(server))
    assert isinstance(found, NotConsentedError)
    assert found.next == "tunnel-client consent approve x"
    with pytest.raises(NotConsentedError), guard(tmp_path, upstream(server)).starting({}):
        pytest.fail("started")


def test_what_was_agreed_to_starts_with_the_mark_and_holds_no_file_after(
    tmp_path: Path, server: Path
) -> None:
    guarded = guard(tmp_path, upstream(server))
    agree(guarded)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with guarded.starting({"MARK": "1"}) as launch:
        assert launch.environment["MARK"] == "1"
        text = os.read(launch.descriptors[0], 10_000).split(b"\0")
        assert {b"MARK=1", b"HOME=/home/nobody"} <= set(text)
        assert all(os.fstat(each) for each in launch.descriptors)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"command": ["{server}", "--other"]}, 'argument 1 was "--flag", is "--other"'),
        ({"command": ["{server}"]}, "there were 1 arguments, there are 0"),
        ({"command": ["/bin/true", "--flag"]}, "the program was"),
        ({"cwd": "/usr"}, 'cwd was null, is "/usr"'),
        ({"inherit_env": ["LD_PRELOAD"]}, "the list of variables inherited was"),
        ({"env": {"LD_PRELOAD": "/x.so"}}, "the list of variables set was"),
        ({"sandbox": {"network": True}}, "sandbox.network was false, is true"),
        ({"sandbox": {"level": "off"}}, 'sandbox.level was "auto", is "off"'),
        ({"sandbox": {"write": ["/usr"]}}, 'sandbox.write was [], is ["/usr"]'),
        ({"allow_unpinned": True}, "allow_unpinned was false, is true"),
    ],
)
def test_a_changed_configuration_is_not_what_was_agreed_to(
    tmp_path: Path, server: Path, change: dict[str, Any], said: str
) -> None:
    """L01: each difference is named."""
    agree(guard(tmp_path, upstream(server)))
    if "command" in change:
        change["command"] = [word.format(server=server) for word in change["command"]]
    found = refusal(tmp_path, upstream(server, **change))
    assert isinstance(found, ConsentChangedError)
    assert said in found.cause


def test_the_value_of_a_variable_counts_and_is_never_shown(tmp_path: Path, server: Path) -> None:
    """L01."""
    agree(guard(tmp_path, upstream(server, env={"TOKEN": SecretStr("CANARY-1")})))
    found = refusal(tmp_path, upstream(server, env={"TOKEN": SecretStr("CANARY-2")}))
    assert "the value of a variable in env changed" in found.cause
    kept = b"".join(each.read_bytes() for each in (tmp_path / "state").iterdir())
    assert b"CANARY" not in kept + str(found).encode()


def replace(server: Path) -> None:
    other = server.with_name("other")
    other.write_text("#!/bin/sh\necho evil\n")
    other.chmod(0o755)
    other.replace(server)


def rewrite(server: Path) -> None:
    facts = server.stat()
    server.write_text("#!/bin/sh\nexit 1\n")
    os.utime(server, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def bend(server: Path) -> None:
    other = server.with_name("other")
    other.write_text("#!/bin/sh\nexit 0\n")
    other.chmod(0o755)
    server.unlink()
    server.symlink_to(other)


@pytest.mark.parametrize("swap", [replace, rewrite, bend])
def test_a_program_that_was_swapped_is_not_started(
    tmp_path: Path, server: Path, swap: Callable[[Path], None]
) -> None:
    """L05: renamed over, written in place with its old time and size, or bent to elsewhere."""
    guarded = guard(tmp_path, upstream(server))
    agree(guarded)
    assert guarded.refusal() is None
    swap(server)
    found = guarded.refusal()
    assert isinstance(found, ConsentChangedError)
    assert "changed (sha256" in found.cause or "is new in it" in found.cause


def test_a_script_that_was_swapped_is_not_started(tmp_path: Path, server: Path) -> None:
    """L05: the interpreter stays the same."""
    script = server.with_name("main.sh")
    script.write_text("exit 0\n")
    guarded = guard(tmp_path, upstream(server, command=["/bin/sh", str(script)]))
    agree(guarded)
    script.write_text("exit 1\n")
    assert isinstance(guarded.refusal(), ConsentChangedError)


def test_a_program_earlier_in_the_path_is_not_started(tmp_path: Path, server: Path) -> None:
    """L05: PATH leads elsewhere after the agreement."""
    settings = UpstreamSettings(name="x", command=["server"])
    state = tmp_path / "state"
    path = str(server.parent)
    agreed(state, settings, {"PATH": path})
    early = tmp_path / "early" / "server"
    early.parent.mkdir()
    early.write_bytes(server.read_bytes())
    early.chmod(0o755)
    found = Guards(state, ()).of(settings, {"PATH": f"{early.parent}:{path}"}).refusal()
    assert isinstance(found, ConsentChangedError)
    assert "the program was" in found.cause


def test_a_listed_link_that_is_bent_is_not_what_was_agreed_to(tmp_path: Path, server: Path) -> None:
    """L13."""
    link = tmp_path / "data"
    link.symlink_to("/usr/share")
    settings = upstream(server, sandbox={"read": [str(link)]})
    agree(guard(tmp_path, settings))
    link.unlink()
    link.symlink_to("/etc")
    assert "where links lead" in refusal(tmp_path, settings).cause


def test_what_is_unpinned_needs_the_configuration_to_say_so(tmp_path: Path, server: Path) -> None:
    """L06."""
    runner = server.with_name("uvx")
    runner.write_bytes(server.read_bytes())
    runner.chmod(0o755)
    found = refusal(tmp_path, upstream(server, command=[str(runner), "mcp-server"]))
    assert isinstance(found, UnpinnedCommandError)
    assert "name one, as mcp-server==1.2.3" in found.cause
    with pytest.raises(UnpinnedCommandError):
        guard(tmp_path, upstream(server, command=[str(runner), "mcp-server"])).look()
    allowed = upstream(server, command=[str(runner), "mcp-server"], allow_unpinned=True)
    agree(guard(tmp_path, allowed))
    assert guard(tmp_path, allowed).refusal() is None
    assert guard(tmp_path, allowed).allows_unpinned


def test_dangers_need_a_consent_of_their_own(tmp_path: Path, server: Path) -> None:
    """L14."""
    settings = upstream(server, command=["/bin/sh", "-c", "exit 0"])
    agree(guard(tmp_path, settings), dangers=False)
    found = refusal(tmp_path, settings)
    assert isinstance(found, DangerousCommandError)
    assert found.next.endswith("--allow-dangerous")
    agree(guard(tmp_path, settings), dangers=True)
    assert guard(tmp_path, settings).refusal() is None


def test_our_own_files_are_never_listed(tmp_path: Path, server: Path) -> None:
    """C19."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(state)
    for rules in (
        {"read": [str(tmp_path)]},
        {"write": [str(state)]},
        {"read": ["/"]},
        {"read": [str(tmp_path / "link")]},
    ):
        found = refusal(tmp_path, upstream(server, sandbox=rules))
        assert isinstance(found, SandboxPathError)
    assert isinstance(refusal(tmp_path, upstream(server, cwd=str(tmp_path))), SandboxPathError)


def test_a_listed_path_that_is_not_there_is_told(tmp_path: Path, server: Path) -> None:
    found = refusal(tmp_path, upstream(server, sandbox={"read": [str(tmp_path / "none")]}))
    assert isinstance(found, SandboxPathError)
    assert "does not exist" in found.cause


@pytest.mark.parametrize(
    ("machine", "rules", "said"),
    [
        (Machine(None, 7, "bubblewrap is not installed"), {"level": "required"}, "bubblewrap is"),
        (Machine("/usr/bin/bwrap", 0), {"level": "required"}, "no Landlock"),
        (Machine(None, 7, "no bubblewrap"), {"hosts": ["a.b:1"]}, "hosts needs bubblewrap"),
    ],
)
def test_what_is_required_and_missing_starts_nothing(
    tmp_path: Path, server: Path, machine: Machine, rules: dict[str, Any], said: str
) -> None:
    found = refusal(tmp_path, upstream(server, sandbox=rules), machine)
    assert isinstance(found, SandboxMissingError)
    assert said in found.cause
    assert not isinstance(
        refusal(tmp_path, upstream(server, sandbox=rules), FULL), SandboxMissingError
    )


def test_a_nul_makes_no_second_variable(tmp_path: Path, server: Path) -> None:
    guarded = guard(tmp_path, upstream(server, env={"A": SecretStr("1\0LD_PRELOAD=/x.so")}))
    agree(guarded)
    with pytest.raises(OSError, match="NUL"), guarded.starting({}):
        pytest.fail("started")


def test_a_program_that_is_gone_is_told(tmp_path: Path, server: Path) -> None:
    guarded = guard(tmp_path, upstream(server))
    agree(guarded)
    server.unlink()
    found = guarded.refusal()
    assert isinstance(found, ConsentChangedError)
    with pytest.raises(NoProgramError):
        guard(tmp_path, upstream(server))


def test_a_folder_of_its_own_is_made_where_there_is_no_tmp_and_removed(
    tmp_path: Path, server: Path
) -> None:
    guarded = guard(tmp_path, upstream(server), BARE)
    agree(guarded)
    with guarded.starting({}) as launch:
        text = os.read(launch.descriptors[0], 10_000).split(b"\0")
        (folder,) = [Path(os.fsdecode(each[7:])) for each in text if each.startswith(b"TMPDIR=")]
        assert folder.stat().st_mode & 0o777 == 0o700
    guarded.close()
    assert not folder.exists()
    sandboxed = SandboxSettings()
    assert guarded.hosts == () == tuple(sandboxed.hosts)


@pytest.mark.parametrize("with_folder", [True, False])
def test_a_program_that_is_not_there_yet_is_refused_until_it_is(
    tmp_path: Path, server: Path, with_folder: bool
) -> None:
    """For the daemon: one program that is missing keeps nobody else from serving."""
    command = [str(server) if with_folder else server.name]
    settings = UpstreamSettings(name="x", command=command)
    state, environ = tmp_path / "state", {**ENVIRON, "PATH": str(server.parent)}
    text = server.read_text()
    server.unlink()
    guards = Guards(state, (state,), FULL)
    guarded = guards.of(settings, environ, absent=True)
    for _ in range(2):
        found = guarded.refusal()
        assert isinstance(found, NoProgramError)
        assert found.cause == f"upstream x: no program {command[0]!r} that may be run"
    server.write_text(text)
    server.chmod(0o755)
    assert isinstance(guarded.refusal(), NotConsentedError)
    agree(guarded)
    assert guarded.refusal() is None
    start = guarded.agreed()
    start.close()
    assert start.wanted.argv == (str(server),)
