"""L05, C19: what a child is shown is what was judged, whatever its name leads to by then."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.sandboxes import MACHINES, agree
from tunnel_client.consent.guard import Guard, Guards
from tunnel_client.consent.held import BentError, hold, let_go
from tunnel_client.errors_upstreams import ConsentChangedError
from tunnel_client.sandbox.plan import Launch
from tunnel_client.settings import UpstreamSettings

ENVIRON = {"PATH": "/usr/bin:/bin", "HOME": "/home/nobody"}
KEY = "this is the client's key"
SHOW = """#!/bin/sh
cat "$1/client.key" "$1/plain" 2>&1
echo over > "$1/written" || echo read-only
ls /proc/self/fd
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    (folder / "client.key").write_text(KEY)
    return folder


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    """The folder that the configuration lists, below one that somebody else may write to."""
    folder = tmp_path / "others" / "repo"
    folder.mkdir(parents=True)
    (folder / "plain").write_text("what was agreed to")
    return folder


@pytest.fixture
def server(tmp_path: Path) -> Path:
    place = tmp_path / "install" / "server"
    place.parent.mkdir()
    place.write_text(SHOW)
    place.chmod(0o755)
    return place


def bend(folder: Path, target: Path) -> None:
    """Do what a server with write access above a folder can do at any moment."""
    folder.rename(folder.with_name("aside"))
    folder.symlink_to(target)


def run(launch: Launch) -> str:
    done = subprocess.run(
        launch.argv,
        cwd=launch.cwd,
        env=dict(launch.environment),
        pass_fds=launch.descriptors,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def guard(machine: str, state: Path, server: Path, shown: Path, kind: str = "") -> Guard:
    places: dict[str, object] = {"sandbox": {kind: [str(shown)]}} if kind else {}
    places = {"cwd": str(shown)} if kind == "cwd" else places
    settings = {"name": "x", "command": [str(server), str(shown)], **places}
    upstream = UpstreamSettings.model_validate(settings)
    made = Guards(state, (state,), MACHINES[machine]()).of(upstream, ENVIRON)
    agree(made)
    return made


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("kind", ["read", "write", "cwd"])
def test_a_folder_that_is_exchanged_while_it_starts_shows_nothing_else(
    machine: str, kind: str, state: Path, server: Path, shown: Path
) -> None:
    with guard(machine, state, server, shown, kind).starting({}) as launch:
        bend(shown, state)
        said = run(launch)
    assert KEY not in said
    if machine == "bubblewrap":  # with Landlock alone the name is the one of the machine
        assert "what was agreed to" in said
        assert ("read-only" in said) == (kind != "write")
    assert not (state / "written").exists()


@pytest.mark.parametrize("machine", MACHINES)
def test_a_tree_that_is_exchanged_while_it_starts_shows_nothing_else(
    machine: str, state: Path, server: Path
) -> None:
    made = guard(machine, state, server, server.parent)
    with made.starting({}) as launch:
        bend(server.parent, state)
        said = run(launch)
    assert KEY not in said


@pytest.mark.parametrize("machine", MACHINES)
def test_the_program_has_none_of_the_descriptors(
    machine: str, state: Path, server: Path, shown: Path
) -> None:
    with guard(machine, state, server, shown, "read").starting({}) as launch:
        said = run(launch)
    numbers = {int(line) for line in said.splitlines() if line.isdigit()}
    assert numbers == {0, 1, 2, 3}, "3 is the folder that ls reads"


@pytest.fixture
def descriptors() -> Callable[[], int]:
    return lambda: len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def test_what_was_exchanged_before_it_was_opened_is_refused(
    state: Path, shown: Path, descriptors: Callable[[], int]
) -> None:
    before = descriptors()
    above = str(shown.parent)
    held = hold({str(shown): str(shown), above: above})
    assert descriptors() == before + 2
    let_go(held)
    bend(shown, state)
    with pytest.raises(BentError, match="leads to"):
        hold({above: above, str(shown): str(shown)})
    with pytest.raises(FileNotFoundError):
        hold({above: above, str(shown / "gone"): str(shown / "gone")})
    assert descriptors() == before


@pytest.mark.parametrize("machine", MACHINES)
def test_an_installation_behind_a_linked_folder_starts(
    machine: str, tmp_path: Path, state: Path, server: Path, shown: Path
) -> None:
    """As `current` leads to a release: no file of the program need lie in the tree itself."""
    release = tmp_path / "releases" / "42"
    (release / "venv" / "bin").mkdir(parents=True)
    (release / "venv" / "pyvenv.cfg").touch()
    (release / "venv" / "bin" / "server").symlink_to(server)
    (tmp_path / "current").symlink_to(release)
    place = tmp_path / "current" / "venv" / "bin" / "server"
    made = guard(machine, state, place, shown, "read")
    assert made.refusal() is None
    with made.starting({}) as launch:
        assert "what was agreed to" in run(launch)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "venv").symlink_to(release / "venv")
    (tmp_path / "current").unlink()
    (tmp_path / "current").symlink_to(tmp_path / "other")
    assert made.refusal() is None, "it leads to the same place"
    bend(release / "venv", state)
    assert made.refusal() is not None


@pytest.mark.parametrize("machine", MACHINES)
def test_a_path_that_is_listed_twice_is_held_once(
    machine: str, state: Path, server: Path, shown: Path
) -> None:
    rules = {"write": [str(shown), str(shown), str(server)], "read": [str(shown)]}
    settings = {"name": "x", "command": [str(server), str(shown)], "sandbox": rules}
    upstream = UpstreamSettings.model_validate(settings)
    made = Guards(state, (state,), MACHINES[machine]()).of(upstream, ENVIRON)
    agree(made)
    with made.starting({}) as launch:
        said = run(launch)
    assert "what was agreed to" in said
    assert "read-only" not in said


def test_an_exchange_between_look_and_hold_starts_nothing(
    state: Path, server: Path, shown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = guard("bubblewrap", state, server, shown, "read")
    agreed = made.agreed

    def bent() -> object:
        found = agreed()
        bend(shown, state)
        return found

    monkeypatch.setattr(made, "agreed", bent)
    with pytest.raises(ConsentChangedError, match="leads to"), made.starting({}):
        pytest.fail("started")
