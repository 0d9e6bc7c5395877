"""Secrets are fetched from files, variables and commands, and failures never show them."""

import os
from pathlib import Path

import pytest

from shared import ours
from shared.configfile import SecretRef
from tests.tunnel_client.credentials.support import CANARY, secret_file
from tests.tunnel_client.upstream.http_support import eventually
from tunnel_client.credentials import sources as sources_module
from tunnel_client.credentials.settings import Place
from tunnel_client.credentials.sources import Sources, read_reference, run_command
from tunnel_client.errors import SecretError, UnsafeFileError
from tunnel_client.errors_upstreams import CredentialError

ENVIRON = {"PATH": "/usr/bin:/bin", "TOKEN": CANARY, "CREDENTIALS_DIRECTORY": "/nowhere"}


async def test_each_place_gives_its_secret(tmp_path: Path) -> None:
    sources = Sources({**ENVIRON, "CREDENTIALS_DIRECTORY": str(tmp_path)})
    file = secret_file(tmp_path)
    for place in ("env:TOKEN", file, "credential:token"):
        secret = sources.now(Place.parse(place))
        assert secret is not None
        assert secret.get_secret_value() == CANARY
        assert (await sources.read(Place.parse(place))).get_secret_value() == CANARY
    command = Place.parse({"command": ["/bin/echo", CANARY]})
    assert sources.now(command) is None
    assert (await sources.read(command)).get_secret_value() == CANARY


def test_a_file_is_ours_and_closed(tmp_path: Path) -> None:
    """Row C21."""
    reference = SecretRef.parse(secret_file(tmp_path))
    path = tmp_path / "token"
    for mode in (0o644, 0o604, 0o660, 0o602):
        path.chmod(mode)
        with pytest.raises(UnsafeFileError):
            read_reference(reference, {})
    path.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
        with pytest.raises(UnsafeFileError, match="another user"):
            read_reference(reference, {})
    with pytest.raises(SecretError, match="cannot be read"):
        read_reference(SecretRef("file", str(tmp_path / "none")), {})


def kubernetes(folder: Path) -> Path:
    """Lay a secret out as Kubernetes mounts it; returns the path that a configuration names."""
    folder.mkdir()
    (folder / "..2026_01").mkdir()
    secret_file(folder / "..2026_01")
    (folder / "..data").symlink_to("..2026_01")
    (folder / "token").symlink_to("..data/token")
    folder.chmod(0o1777)
    return folder / "token"


def test_a_secret_as_kubernetes_mounts_it_is_read_and_read_anew(tmp_path: Path) -> None:
    """Row C21: the mount is sticky and open, each name in it belongs to root or to us."""
    path = kubernetes(tmp_path / "mount")
    reference = SecretRef("file", str(path))
    assert read_reference(reference, {}).get_secret_value() == CANARY
    newer = path.parent / "..2026_02"
    newer.mkdir()
    (newer / "token").write_text("another")
    (newer / "token").chmod(0o400)
    (path.parent / "..tmp").symlink_to(newer)  # an absolute one, too
    (path.parent / "..tmp").replace(path.parent / "..data")
    assert read_reference(reference, {}).get_secret_value() == "another"
    (newer / "token").chmod(0o444)
    with pytest.raises(UnsafeFileError, match="mode 0444"):
        read_reference(reference, {})


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757])
@pytest.mark.parametrize("name", [".", "..2026_01"])
def test_a_link_through_a_folder_that_others_write_in_is_refused(
    tmp_path: Path, name: str, mode: int
) -> None:
    """Row C21."""
    path = kubernetes(tmp_path / "mount")
    (path.parent / name).chmod(mode)
    with pytest.raises(UnsafeFileError, match="symbolic link that others can"):
        read_reference(SecretRef("file", str(path)), {})


@pytest.mark.parametrize("name", ["token", "..data", "..2026_01"])
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_link_of_somebody_else_is_refused(tmp_path: Path, name: str) -> None:
    """Row C21: in a sticky folder anybody may make a new link."""
    path = kubernetes(tmp_path / "mount")
    os.chown(path.parent / name, 12345, 12345, follow_symlinks=False)
    with pytest.raises(UnsafeFileError, match="symbolic link that others can"):
        read_reference(SecretRef("file", str(path)), {})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root looks after a service of another user")
def test_root_believes_a_file_of_the_service_and_none_of_its_links(tmp_path: Path) -> None:
    """Row C21: they could lead root to a secret of somebody else."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    reference = SecretRef.parse(secret_file(state))
    (state / "link").symlink_to(state / "token")
    for path in (state, state / "token", state / "link"):
        os.chown(path, 12345, 12345, follow_symlinks=False)
    ours.look_after(state)
    try:
        assert read_reference(reference, {}).get_secret_value() == CANARY
        with pytest.raises(UnsafeFileError, match="symbolic link that others can"):
            read_reference(SecretRef("file", str(state / "link")), {})
    finally:
        ours.look_after(tmp_path / "none")


def test_links_in_a_circle_to_folders_and_to_nothing_are_refused(tmp_path: Path) -> None:
    """Row C21."""
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "none").symlink_to("nothing")
    (tmp_path / "folder").symlink_to(tmp_path)
    for name in ("circle", "none", "folder"):
        with pytest.raises(SecretError, match="cannot be read"):
            read_reference(SecretRef("file", str(tmp_path / name)), {})
    for name, target in (("root", "/"), ("up", "..")):
        (tmp_path / name).symlink_to(target)
        with pytest.raises(UnsafeFileError, match="not a regular file"):
            read_reference(SecretRef("file", str(tmp_path / name)), {})


async def test_a_command_sees_little_and_is_never_a_shell(tmp_path: Path) -> None:
    environ = {**ENVIRON, "HOME": "/h"}
    seen = (await run_command(("/usr/bin/env",), environ)).get_secret_value()
    assert sorted(seen.split("\n")) == ["HOME=/h", "PATH=/usr/bin:/bin"]
    word = "$(touch /tmp/x); `id` & |"
    assert (await run_command(("/bin/echo", word), environ)).get_secret_value() == word


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (f"echo {CANARY}; echo {CANARY} >&2; exit 3", "ended with 3"),
        ("true", "prints nothing"),
        ("head -c 100000 /dev/zero", "more than 64 KiB"),
        ("printf '\\377\\376'", "does not print text"),
    ],
)
async def test_a_command_that_fails_is_told_by_kind(script: str, why: str) -> None:
    with pytest.raises(CredentialError) as caught:
        await run_command(("/bin/sh", "-c", script), ENVIRON)
    assert why in str(caught.value)
    assert CANARY not in str(caught.value)


async def test_a_command_that_does_not_end_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"sleep 100 & echo $! > {tmp_path}/pid; echo {CANARY}; wait"
    child = ""
    for seconds in (0.3, 3.0, 30.0):
        monkeypatch.setattr(sources_module, "COMMAND_SECONDS", seconds)
        with pytest.raises(CredentialError, match="longer than"):
            await run_command(("/bin/sh", "-c", script), ENVIRON)
        if child := written(tmp_path / "pid"):
            break  # otherwise it was killed before it had a child
    assert child
    await eventually(lambda: ended(child))


def written(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


def ended(pid: str) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] in "ZX"


async def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(CredentialError, match="cannot be run"):
        await run_command((str(tmp_path / "none"),), ENVIRON)
    with pytest.raises(CredentialError, match="no \\[vault\\]"):
        await Sources(ENVIRON).read(Place.parse("vault:secret/x#y"))
    with pytest.raises(SecretError, match="env:NONE is empty or not set"):
        Sources(ENVIRON).now(Place.parse("env:NONE"))
