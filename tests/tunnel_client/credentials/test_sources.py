"""Secrets are fetched from files, variables and commands, and failures never show them."""

import os
from pathlib import Path

import pytest

from shared.configfile import SecretRef
from tests.tunnel_client.credentials.support import CANARY, secret_file
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


def test_a_file_is_ours_closed_and_no_link(tmp_path: Path) -> None:
    """Row C21."""
    reference = SecretRef.parse(secret_file(tmp_path))
    path = tmp_path / "token"
    for mode in (0o644, 0o604, 0o660, 0o602):
        path.chmod(mode)
        with pytest.raises(UnsafeFileError):
            read_reference(reference, {})
    path.chmod(0o600)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(UnsafeFileError, match="symbolic link"):
        read_reference(SecretRef("file", str(tmp_path / "link")), {})
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
        with pytest.raises(UnsafeFileError, match="another user"):
            read_reference(reference, {})
    with pytest.raises(SecretError, match="cannot be read"):
        read_reference(SecretRef("file", str(tmp_path / "none")), {})


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
    monkeypatch.setattr(sources_module, "COMMAND_SECONDS", 0.3)
    script = f"sleep 100 & echo $! > {tmp_path}/pid; echo {CANARY}; wait"
    with pytest.raises(CredentialError, match="longer than"):
        await run_command(("/bin/sh", "-c", script), ENVIRON)
    assert ended((tmp_path / "pid").read_text().strip())


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
