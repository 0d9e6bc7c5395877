"""What a service of this configuration needs: files to write, commands to run, what to know."""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shared.configfile import SecretRef
from tunnel_client.errors import NoPolicyError, NotEnrolledError
from tunnel_client.errors_service import UnfitServiceError
from tunnel_client.identity import is_enrolled
from tunnel_client.references import references
from tunnel_client.service.units import (
    UNIT,
    local_drop_in,
    stdio_drop_in,
    system_unit,
    user_unit,
)
from tunnel_client.settings import FOLDER_VARIABLE, ClientSettings

PROFILES = ("http", "stdio")
STDIO_CONF = "stdio.conf"
LOCAL_CONF = "local.conf"
_STATE_DIR = Path("/var/lib/tunnel-client")
_HIDDEN = (Path("/home"), Path("/root"), Path("/run/user"), Path("/tmp"), Path("/var/tmp"))  # noqa: S108
"""What `ProtectHome=` and `PrivateTmp=` take from a service."""
_HANDED = Path("/run/credentials", UNIT)


@dataclass(frozen=True, slots=True)
class Where:
    """Which systemd: the machine's or a user's (`user`), or that of a file system at `root`."""

    user: bool = False
    root: Path = Path("/")
    home: Path = Path("/root")
    """The folder of a user's configuration, as XDG_CONFIG_HOME names it."""

    @property
    def folder(self) -> Path:
        """Where units are written."""
        if self.user:
            return self.home / "systemd" / "user"
        return self.inside(Path("/etc/systemd/system"))

    @property
    def drop_ins(self) -> Path:
        """Where the drop-ins of our unit are."""
        return self.folder / f"{UNIT}.d"

    @property
    def offline(self) -> bool:
        """Nothing runs in the file system that is written."""
        return self.root != Path("/")

    def inside(self, path: Path) -> Path:
        """Return where a path of the service is for us."""
        return self.root / path.relative_to("/") if self.offline else path


@dataclass(slots=True)
class Plan:
    """What an installation comes to: texts by file, files that must go, what to tell."""

    profile: str
    files: dict[Path, str] = field(default_factory=dict)
    unwanted: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def make_plan(
    settings: ClientSettings, config: Path, program: Path, where: Where, profile: str | None
) -> Plan:
    """Lay out the service of a configuration; `config` and `program` as the service sees them.

    Raises NotEnrolledError, NoPolicyError and UnfitServiceError.
    """
    if not is_enrolled(where.inside(settings.state_dir)):
        raise NotEnrolledError(f"no key in {settings.state_dir}")
    if not where.inside(settings.policy).is_file():
        raise NoPolicyError(f"no policy {settings.policy}")
    stdio = any(upstream.command for upstream in settings.upstream)
    plan = Plan(profile or ("stdio" if stdio else "http"))
    if stdio and plan.profile == "http":
        plan.notes.append("there are stdio upstreams, and the http profile lets none of them start")
    unit = user_unit if where.user else system_unit
    if not where.user:
        _check_places(settings, program)
    plan.files[where.folder / UNIT] = unit(program, config)
    extra = where.drop_ins / STDIO_CONF
    if plan.profile == "stdio":
        plan.files[extra] = stdio_drop_in(user=where.user)
    else:
        plan.unwanted.append(extra)
    variables: dict[str, str] = {}
    credentials = _credentials(settings, where, plan.notes)
    if not where.user:
        variables[FOLDER_VARIABLE] = str(config.parent)
        variables["TUNNEL_CLIENT_POLICY"] = str(_policy(settings, where, credentials, plan.notes))
        plan.notes += _unreadable(settings, where)
    local = where.drop_ins / LOCAL_CONF
    if variables or credentials:
        plan.files[local] = local_drop_in(variables, credentials)
    else:
        plan.unwanted.append(local)
    return plan


def _check_places(settings: ClientSettings, program: Path) -> None:
    if any(program.is_relative_to(folder) for folder in _HIDDEN):
        raise UnfitServiceError(
            f"{program} is in a folder that the service does not see",
            "install it outside of /home, as docs/operations.md shows, or use --user",
        )
    if settings.state_dir != _STATE_DIR:
        raise UnfitServiceError(
            f"state_dir is {settings.state_dir}, and the unit keeps its state in {_STATE_DIR}",
            "move the folder there, change state_dir in the configuration, then install again",
        )


def _policy(
    settings: ClientSettings, where: Where, credentials: dict[str, Path], notes: list[str]
) -> Path:
    """Return where the service finds its policy: in place if it may read it there."""
    if _readable(settings.policy, where):
        return settings.policy
    credentials["policy.yaml"] = settings.policy
    notes.append(
        f"the service gets a copy of {settings.policy} at its start: restart it after a change; "
        "with mode 0644 and another install it reads changes by itself"
    )
    return _HANDED / "policy.yaml"


def _credentials(settings: ClientSettings, where: Where, notes: list[str]) -> dict[str, Path]:
    """Return the files of secrets by their names in the service; raises UnfitServiceError."""
    found: dict[str, Path] = {}
    keys = (each.credential and each.credential.assertion_key for each in settings.upstream)
    signing = [SecretRef("file", str(key)) for key in keys if key is not None]
    for reference in (*references(settings), *signing):
        if reference.kind == "credential":
            found[reference.name] = _stored(reference.name, where)
        elif reference.kind == "env":
            notes.append(
                f"{reference} is not set in a service: set it in a drop-in (Environment=), or use "
                "credential:NAME"
            )
        elif not where.user:
            path = Path(reference.name).absolute()
            if "{user}" in reference.name:
                notes.append(
                    f"{path.parent} must be readable for the service: one file for each user"
                )
            elif not where.inside(path).is_file():
                raise UnfitServiceError(f"there is no file for {reference}", f"ls -l {path}")
            else:
                found[reference.handed_name] = path
    return found


def _stored(name: str, where: Where) -> Path:
    base = where.home if where.user else Path("/etc")
    for folder in ("credstore", "credstore.encrypted"):
        if where.inside(base / folder / name).is_file():
            return base / folder / name
    place = base / "credstore" / name
    raise UnfitServiceError(
        f"nothing is kept for credential:{name}",
        f"install -D -m 0600 /dev/stdin {place}, then install again",
    )


def _unreadable(settings: ClientSettings, where: Where) -> Iterator[str]:
    paths = [settings.relay.ca_file]
    for upstream in settings.upstream:
        paths += [upstream.ca_file, upstream.cwd]
        if upstream.command and upstream.command[0].startswith("/"):
            paths.append(Path(upstream.command[0]))
        given = upstream.credential
        if given is not None:
            paths += [given.cert_file, given.key_file, given.ca_file]
    for path in dict.fromkeys(paths):
        if path is not None and not _readable(path, where):
            yield f"the service cannot read {path}: it runs as a user of its own, without /home"


def _readable(path: Path, where: Where) -> bool:
    """Tell whether any user at all reads a file, all folders above it included."""
    if any(path.is_relative_to(folder) for folder in _HIDDEN):
        return False
    for step in (path, *path.parents):
        try:
            mode = where.inside(step).stat().st_mode
        except OSError:
            return False
        needed = stat.S_IXOTH if stat.S_ISDIR(mode) else stat.S_IROTH
        if not mode & needed:
            return False
    return True


def config_home(environ: Mapping[str, str]) -> Path:
    """Return the folder of this user's configuration."""
    return Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def is_root() -> bool:
    """Tell whether we may write for the whole machine."""
    return os.geteuid() == 0
