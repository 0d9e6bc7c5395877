"""What this machine offers to cage a program with; looked at once a process."""

import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tunnel_client.sandbox.calls import is_known
from tunnel_client.sandbox.launch import has_seccomp, landlock_abi

_TRY_SECONDS = 10.0
NAMESPACES = ("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts")
"""Not --unshare-all: a cgroup namespace too would be one more thing a service has to be allowed."""
WALLS = ("--die-with-parent", "--cap-drop", "ALL", "--hostname", "sandbox")
EMPTY_TMP = ("--perms", "1777", "--tmpfs", "/tmp")  # noqa: S108 - a private one
_BASIC = (*NAMESPACES, "--unshare-net", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev")
_NOTHING = "/bin/true"


@dataclass(frozen=True, slots=True)
class Machine:
    """The means that work here: the path of bubblewrap, and the version of Landlock, 0 for none.

    `why_not` says for operators why bubblewrap cannot be used, `seccomp` whether the kernel takes
    a filter of system calls and we have one for this kind of machine.
    """

    bwrap: str | None
    landlock: int
    why_not: str = ""
    seccomp: bool = False


@cache
def look() -> Machine:
    """Find out, by starting one empty sandbox with the words of `plan`; it takes milliseconds."""
    bwrap, why_not = _bubblewrap()
    # A Python of 32 bits is, to the kernel, of another kind than the machine.
    seccomp = is_known(platform.machine()) and sys.maxsize > 2**32 and has_seccomp()
    return Machine(bwrap, landlock_abi(), why_not, seccomp)


def _bubblewrap() -> tuple[str | None, str]:
    """Return the path of a bubblewrap that works, or why there is none."""
    bwrap = shutil.which("bwrap", path="/usr/bin:/bin:/usr/local/bin")
    if bwrap is None:
        return None, "bubblewrap is not installed"
    try:
        with Path(_NOTHING).open("rb") as file:
            said = _tried(bwrap, _whole(file.fileno()), file.fileno())
        if said is None:
            return bwrap, ""
        # One that makes namespaces, and no sandbox of ours with them, lacks one of the options.
        basic = _tried(bwrap, _BASIC)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"bubblewrap does not run: {type(error).__name__}"
    if basic is None:
        return None, f"bubblewrap is too old: {said}"
    return None, f"bubblewrap does not run: {basic}"


def _whole(descriptor: int) -> tuple[str, ...]:
    """Return every kind of word that `plan` uses, as little of each as there can be."""
    mounts = ("--symlink", "/usr", "/tmp/link", "--ro-bind-try", "/usr", "/tmp/usr")  # noqa: S108
    files = ("--bind-try", "/usr", "/tmp/own", "--ro-bind-fd", str(descriptor), "/tmp/true")  # noqa: S108
    return (*_BASIC, *WALLS, *EMPTY_TMP, *mounts, *files, "--remount-ro", "/", "--chdir", "/usr")


def _tried(bwrap: str, words: tuple[str, ...], *descriptors: int) -> str | None:
    """Return what went wrong in a sandbox made with these words; None for nothing."""
    done = subprocess.run(  # noqa: S603 - our own words, no shell
        [bwrap, *words, "--", _NOTHING],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_TRY_SECONDS,
        check=False,
        pass_fds=descriptors,
    )
    if done.returncode == 0:
        return None
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return said[-1][:200] if said else f"status {done.returncode}"
