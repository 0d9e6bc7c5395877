"""Turns the rules of one upstream into the words that start its program in a sandbox; pure.

With bubblewrap the child sees a file system of its own: the system and its installation read-only,
an empty /tmp and home, /proc of its own processes only. Inside of it (or alone, where there is no
bubblewrap, with a filter of system calls) `launch.py` sets limits and Landlock and then becomes the
program.
"""

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tunnel_client.sandbox.calls import call_filter
from tunnel_client.sandbox.machine import EMPTY_TMP, NAMESPACES, WALLS, Machine
from tunnel_client.sandbox.trees import SYSTEM
from tunnel_client.settings_sandbox import SandboxSettings

LAUNCHER = Path(__file__).with_name("launch.py")
PROXY_PORT = 3128
"""Where a child finds our proxy on the loopback of its own network."""
_INSIDE_LAUNCHER = "/run/mcp-tunnel/launch.py"
_INSIDE_SOCKET = "/run/mcp-tunnel/egress.sock"
_ETC = (
    *("alternatives", "ca-certificates", "crypto-policies", "group", "hosts", "ld.so.cache"),
    *("ld.so.conf", "ld.so.conf.d", "localtime", "mime.types", "nsswitch.conf", "passwd"),
    *("protocols", "resolv.conf", "services", "timezone"),
    # Beside these are private keys, which are root's, and a child may be root.
    *("ssl/certs", "ssl/cert.pem", "ssl/openssl.cnf", "pki/ca-trust/extracted"),
    *("pki/tls/certs", "pki/tls/cert.pem", "pki/tls/openssl.cnf"),
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_TMP = "/tmp"  # noqa: S108 - a private one, made for this child
_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")


@dataclass(frozen=True, slots=True)
class Launch:
    """What to execute: `descriptors` stay open in the child, `deaf` starts it ignoring SIGTERM."""

    argv: tuple[str, ...]
    cwd: str | None
    environment: Mapping[str, str] = field(repr=False)
    descriptors: tuple[int, ...] = ()
    deaf: bool = False
    contained: bool = False
    """Whether the kernel itself ends all that a child started, together with it."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A file of the program, opened and compared with the consent; `facts` as in `launch.py`."""

    path: str
    descriptor: int
    facts: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shall run: `argv` with an absolute program, and what it needs to read to run at all."""

    argv: tuple[str, ...]
    cwd: str | None
    environment: Mapping[str, str] = field(repr=False)
    files: tuple[Checked, ...] = ()
    trees: tuple[str, ...] = ()
    launcher: tuple[str, ...] = ()
    """What the Python reads that starts it."""
    held: Mapping[str, int] = field(default_factory=dict)
    """Descriptors of paths that were judged; what they are of is shown, whatever the names are."""
    mark: Mapping[str, str] = field(default_factory=dict)
    """What all processes of a child carry, its walls included, so that none is lost."""


@dataclass(frozen=True, slots=True)
class Reached:
    """How far an upstream's sandbox goes on this machine."""

    bubblewrap: bool
    landlock: int
    rules: SandboxSettings
    why_not: str = ""
    seccomp: bool = False
    """Whether a filter of system calls stands in for the namespaces of bubblewrap."""

    def __str__(self) -> str:
        if self.rules.level == "off":
            return "UNSANDBOXED: sandbox.level is off"
        parts = ["bubblewrap"] if self.bubblewrap else []
        parts += ["landlock"] if self.landlock else []
        parts += ["seccomp"] if self.seccomp else []
        text = " + ".join([*parts, "rlimits"])
        if not parts:
            return f"UNSANDBOXED: {text} only; {self.why_not}, and the kernel has no Landlock"
        if self.bubblewrap:
            hosts = f"network: {', '.join(self.rules.hosts)}" if self.rules.hosts else "no network"
            return f"{text}; {'ALL NETWORK' if self.rules.network else hosts}"
        return "; ".join([text, *self._open(), self.why_not])

    def _open(self) -> list[str]:
        """Return what Landlock alone leaves open."""
        if self.seccomp:
            found = ["ALL NETWORK" if self.rules.network else "no network"]
        else:
            found = ["NETWORK AND LOCAL SOCKETS ARE OPEN"]
        # The number of a process says nothing of whose it is, so the filter cannot help.
        if self.landlock < 6:
            found.append("OTHER PROCESSES CAN BE SIGNALLED")
        return found

    @property
    def caged(self) -> bool:
        """Whether file access is limited at all."""
        return self.rules.level != "off" and (self.bubblewrap or self.landlock > 0)


def reached(rules: SandboxSettings, machine: Machine) -> Reached:
    """Return what these rules come to on this machine."""
    if rules.level == "off":
        return Reached(False, 0, rules)
    seccomp = machine.bwrap is None and machine.landlock > 0 and machine.seccomp
    return Reached(machine.bwrap is not None, machine.landlock, rules, machine.why_not, seccomp)


def environment_of(
    wanted: Wanted, rules: SandboxSettings, machine: Machine, tmp: str, egress: str | None
) -> dict[str, str]:
    """Return the variables of the program: what was wanted, and where its /tmp or proxy is."""
    environment = dict(wanted.environment)
    if rules.level != "off" and machine.bwrap is None:
        environment["TMPDIR"] = tmp
    elif rules.level != "off" and egress is not None:
        proxy = f"http://127.0.0.1:{PROXY_PORT}"
        environment |= dict.fromkeys(_PROXY_VARIABLES, proxy) | {"NODE_USE_ENV_PROXY": "1"}
    return environment


def plan(
    wanted: Wanted,
    rules: SandboxSettings,
    machine: Machine,
    tmp: str,
    egress: str | None,
    variables: int,
) -> Launch:
    """Return how to start a child; `tmp` is a folder for it where it cannot have its own /tmp.

    `egress` is the Unix socket of the proxy for `rules.hosts`, `variables` the descriptor from
    which the launcher reads the program's variables. bubblewrap and the launcher see none of
    them: an LD_PRELOAD that is meant for the program would run in them, outside of the sandbox.
    """
    if rules.level == "off":
        return Launch(wanted.argv, wanted.cwd, wanted.environment)
    python = os.path.realpath(sys.executable)
    outside = {"PATH": "/usr/bin:/bin", **wanted.mark}
    if machine.bwrap is None:
        words = [f"env={variables}", *_limits(rules, counted=False), *_same(wanted)]
        if machine.landlock:
            free = [tmp, *_DEVICES, *_paths(rules.write)]
            words += _landlock(_read(wanted, rules), free, wanted.held)
            words += [] if rules.network else ["no-tcp"]
        if machine.landlock and machine.seccomp:
            words.append(f"filter={call_filter(platform.machine(), rules.network).hex()}")
        argv = (python, "-I", "-S", str(LAUNCHER), *words, "--", *wanted.argv)
        held = wanted.held.values() if machine.landlock else ()
        return Launch(argv, wanted.cwd or tmp, outside, (variables, *held))
    words = [f"env={variables}", *_limits(rules, counted=True)]
    if egress is not None:
        words.append(f"forward={PROXY_PORT}:{_INSIDE_SOCKET}")
    if machine.landlock:
        free = [_TMP, "/dev", *filter(None, [_home(wanted)]), *_paths(rules.write)]
        read = [*_read(wanted, rules), _INSIDE_SOCKET]
        # With `hosts` it has to dial its own loopback, and there is nothing else to dial.
        words += _landlock(read, free)
        words += [] if rules.network or egress is not None else ["no-tcp"]
    argv = (
        *(machine.bwrap, *_bwrap(wanted, rules, egress), "--"),
        *(python, "-I", "-S", _INSIDE_LAUNCHER, *words, "--", *wanted.argv),
    )
    files = (each.descriptor for each in wanted.files)
    descriptors = (variables, *files, *wanted.held.values())
    return Launch(argv, None, outside, descriptors, deaf=True, contained=True)


def _bwrap(wanted: Wanted, rules: SandboxSettings, egress: str | None) -> list[str]:
    # No --new-session: a child has a session of its own, without a terminal, before bubblewrap
    # starts, and one more would put the server beyond the reach of signals to the group.
    words = [*NAMESPACES, *([] if rules.network else ["--unshare-net"])]
    words += WALLS
    for place in SYSTEM:
        if Path(place).is_symlink():
            words += ["--symlink", str(Path(place).readlink()), place]
        else:
            words += ["--ro-bind-try", place, place]
    for name in _ETC:
        words += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    words += ["--proc", "/proc", "--dev", "/dev", *EMPTY_TMP]
    home = _home(wanted)
    words += ["--tmpfs", home] if home else []
    # Short paths first, so that a folder never hides what was mounted inside of it.
    mounts = [(each, "--ro-bind") for each in _own(wanted, rules)]
    mounts += [(each, "--bind") for each in dict.fromkeys(_paths(rules.write))]
    for place, how in sorted(mounts, key=lambda each: len(Path(each[0]).parts)):
        if place == "/":
            raise ValueError("the whole file system cannot be mounted in a sandbox")
        held = wanted.held.get(place)
        words += [f"{how}-try", place, place] if held is None else [f"{how}-fd", str(held), place]
    # The very files that were compared with the consent, whatever their names lead to by now.
    for file in wanted.files:
        words += ["--ro-bind-fd", str(file.descriptor), file.path]
    words += ["--ro-bind", str(LAUNCHER), _INSIDE_LAUNCHER]
    words += ["--bind", egress, _INSIDE_SOCKET] if egress is not None else []
    return [*words, "--remount-ro", "/", "--chdir", wanted.cwd or _TMP]


def _home(wanted: Wanted) -> str:
    """Return where to put an empty home; "" where there is none, or where the system is."""
    home = Path(wanted.environment.get("HOME", ""))
    taken = (*SYSTEM, "/etc", "/proc", "/dev", "/run")
    if not home.is_absolute() or ".." in home.parts or home == Path("/"):
        return ""
    return "" if any(map(home.is_relative_to, taken)) else str(home)


def _own(wanted: Wanted, rules: SandboxSettings) -> list[str]:
    """Return the trees that are this upstream's, and the Python's that launches it."""
    places = [*wanted.trees, *_paths(rules.read), *([wanted.cwd] if wanted.cwd else [])]
    write = _paths(rules.write)
    return [each for each in dict.fromkeys([*places, *wanted.launcher]) if each not in write]


def _read(wanted: Wanted, rules: SandboxSettings) -> list[str]:
    own = _own(wanted, rules)
    files = [each.path for each in wanted.files]
    return [*SYSTEM, *(f"/etc/{name}" for name in _ETC), "/proc", *own, *files]


def _landlock(
    read: Sequence[str], write: Sequence[str], held: Mapping[str, int] | None = None
) -> list[str]:
    """Return the words for Landlock; what is `held` open is named by its descriptor."""
    words = []
    # What it may write it may read anyway, and a descriptor serves once.
    read = [each for each in read if each not in write]
    for right, places in (("read", read), ("write", write)):
        for place in dict.fromkeys(places):
            descriptor = None if held is None else held.get(place)
            words.append(f"{right}={place}" if descriptor is None else f"{right}-fd={descriptor}")
    return words


def _limits(rules: SandboxSettings, counted: bool) -> list[str]:
    """Return the limits; processes are `counted` only where they are counted for a child alone."""
    limits = {"CORE": 0, "NOFILE": rules.open_files}
    if counted:
        limits["NPROC"] = rules.processes
    if rules.memory_mib is not None:
        limits["AS"] = rules.memory_mib * 1024 * 1024
    return [f"limit={name}:{number}" for name, number in limits.items()]


def _same(wanted: Wanted) -> list[str]:
    return [f"same={each.facts}:{each.path}" for each in wanted.files]


def _paths(paths: Sequence[Path]) -> list[str]:
    return [str(each) for each in paths]
