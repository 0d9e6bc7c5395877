"""What the machine offers is found by trying it."""

import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.sandboxes import bubblewrap
from tunnel_client.sandbox.launch import has_seccomp, landlock_abi
from tunnel_client.sandbox.machine import Machine, look


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    look.cache_clear()
    yield
    look.cache_clear()


def program(folder: Path, text: str) -> str:
    place = folder / "bwrap"
    place.write_text(f"#!/bin/sh\n{text}\n")
    place.chmod(0o755)
    return str(place)


def test_without_bubblewrap_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    assert look() == Machine(None, landlock_abi(), "bubblewrap is not installed", has_seccomp())


def test_one_that_cannot_make_namespaces_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = program(tmp_path, "echo 'bwrap: No permissions to create new namespace' >&2; exit 1")
    monkeypatch.setattr(shutil, "which", lambda name, path=None: broken)
    machine = look()
    assert machine.bwrap is None
    assert machine.why_not.endswith("No permissions to create new namespace")


def test_one_that_lacks_an_option_we_use_is_too_old(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It would pass a lesser trial, and then fail at every start."""
    real = bubblewrap().bwrap
    for option in ("--ro-bind-fd", "--perms", "--remount-ro"):
        look.cache_clear()
        refuses = f'case " $* " in *" {option} "*) exit 1;; esac; exec {real} "$@"'
        old = program(tmp_path, refuses)
        monkeypatch.setattr(shutil, "which", lambda name, path=None, old=old: old)
        machine = look()
        assert (machine.bwrap, machine.why_not) == (None, "bubblewrap is too old: status 1")


def test_one_that_hangs_or_is_no_program_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: str(tmp_path))
    assert look().why_not == "bubblewrap does not run: PermissionError"


def test_a_machine_we_have_no_filter_for_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert look().seccomp is False


def test_it_looks_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    works = program(tmp_path, "exit 0")
    monkeypatch.setattr(shutil, "which", lambda name, path=None: works)
    assert look() == Machine(works, landlock_abi(), "", has_seccomp())
    monkeypatch.setattr(subprocess, "run", None)
    assert look().bwrap == works
