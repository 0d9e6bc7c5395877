"""Writes a plan down and has systemd take it up; takes away what was written, and nothing else."""

import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tunnel_client.errors import StateWriteError
from tunnel_client.errors_service import (
    ForeignUnitError,
    NoSystemdError,
    NotRootError,
    ServiceCommandError,
)
from tunnel_client.service.plan import LOCAL_CONF, STDIO_CONF, Plan, Where, is_root
from tunnel_client.service.units import UNIT, is_ours

COMMAND_SECONDS = 90.0
"""A client that cannot start says so long before; systemd waits that long for it."""
_SAID = 400


@dataclass(slots=True)
class Done:
    """What was done, or would be: what became of each file, and the commands in their order."""

    files: dict[Path, str] = field(default_factory=dict)
    commands: list[list[str]] = field(default_factory=list)


def may_apply(where: Where, environ: Mapping[str, str]) -> None:
    """Refuse where nothing can be installed; raises NotRootError and NoSystemdError."""
    if where.user:
        runtime = environ.get("XDG_RUNTIME_DIR")
        if not runtime or not Path(runtime, "systemd").is_dir():
            raise NoSystemdError(
                "no systemd runs for this user (XDG_RUNTIME_DIR holds none)",
                "log in anew, or as root: loginctl enable-linger USER",
            )
        return
    if where.offline:
        return
    if not is_root():
        raise NotRootError("a service of the machine is root's to install")
    # sd_booted(3) looks for the same folder.
    if not Path("/run/systemd/system").is_dir():
        raise NoSystemdError("systemd does not run this machine")


def install(plan: Plan, where: Where, *, dry: bool) -> Done:
    """Write what differs, start the service; raises ForeignUnitError, StateWriteError."""
    for path in (*plan.files, *plan.unwanted):
        _refuse_foreign(path)
    unit = where.folder / UNIT
    was_there = unit.exists()
    done = Done()
    for path, text in plan.files.items():
        done.files[path] = "unchanged" if _text(path) == text else "written"
        if not dry and done.files[path] == "written":
            _write(path, text)
    for path in plan.unwanted:
        if path.exists():
            done.files[path] = "removed"
            if not dry:
                _remove(path)
    changed = set(done.files.values()) != {"unchanged"}
    done.commands = _install_commands(where, again=was_there and changed)
    return _run_all(done, dry=dry)


def uninstall(where: Where, *, dry: bool) -> Done:
    """Stop the service and take its files away; raises ForeignUnitError and ServiceCommandError."""
    paths = (
        where.folder / UNIT,
        where.drop_ins / STDIO_CONF,
        where.drop_ins / LOCAL_CONF,
    )
    there = [path for path in paths if path.exists()]
    for path in there:
        _refuse_foreign(path)
    done = Done(files=dict.fromkeys(there, "removed"))
    systemctl = _systemctl(where)
    if not there:
        return done
    if where.folder / UNIT in there:
        disable = [*systemctl, "disable", *([] if where.offline else ["--now"]), UNIT]
        done.commands.append(disable)
        _run_all(done, dry=dry)
    if not dry:
        for path in there:
            _remove(path)
        if where.drop_ins.is_dir() and not any(where.drop_ins.iterdir()):
            where.drop_ins.rmdir()
    if not where.offline:
        reload = [*systemctl, "daemon-reload"]
        done.commands.append(reload)
        _run_all(Done(commands=[reload]), dry=dry)
    return done


def _install_commands(where: Where, *, again: bool) -> list[list[str]]:
    systemctl = _systemctl(where)
    if where.offline:
        return [[*systemctl, "enable", UNIT]]
    start = [[*systemctl, "enable", "--now", UNIT]]
    if again:
        start = [[*systemctl, "enable", UNIT], [*systemctl, "restart", UNIT]]
    return [[*systemctl, "daemon-reload"], *start]


def _systemctl(where: Where) -> list[str]:
    if where.offline:
        return ["systemctl", f"--root={where.root}"]
    return ["systemctl", "--user"] if where.user else ["systemctl"]


def _run_all(done: Done, *, dry: bool) -> Done:
    for command in () if dry else done.commands:
        _run(command)
    return done


def _run(command: list[str]) -> None:
    program = shutil.which(command[0])
    if program is None:
        raise NoSystemdError("there is no systemctl here")
    try:
        ended = subprocess.run(  # noqa: S603 - an argv list of our own words
            [program, *command[1:]],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ServiceCommandError(f"{shlex.join(command)} did not end in time") from None
    if ended.returncode:
        said = " ".join(ended.stderr.split())[:_SAID] or f"status {ended.returncode}"
        raise ServiceCommandError(f"{shlex.join(command)}: {said}")


def _refuse_foreign(path: Path) -> None:
    text = _text(path)
    if text is not None and not is_ours(text):
        raise ForeignUnitError(f"{path} was not written by this command", f"cat {path}")


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ForeignUnitError(
            f"cannot read {path}: {type(error).__name__}", f"ls -l {path}"
        ) from None


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft.write_text(text)
        draft.chmod(0o644)
        draft.replace(path)
    except OSError as error:
        raise StateWriteError(
            f"cannot write {path}: {error.strerror}", f"ls -ld {path.parent}"
        ) from None


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise StateWriteError(f"cannot remove {path}: {error.strerror}", f"ls -l {path}") from None
