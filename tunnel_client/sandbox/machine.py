"""What this machine offers to cage a program with; looked at once a process."""

import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache

from tunnel_client.sandbox.calls import is_known
from tunnel_client.sandbox.launch import has_seccomp, landlock_abi

_TRY_SECONDS = 10.0
NAMESPACES = ("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts")
"""Not --unshare-all: a cgroup namespace too would be one more thing a service has to be allowed."""
_TRY = (*NAMESPACES, "--unshare-net", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev")


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
    """Find out, by starting one empty sandbox; takes some milliseconds the first time."""
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
        done = subprocess.run(  # noqa: S603 - our own words, no shell
            [bwrap, *_TRY, "--", "/bin/true"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TRY_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"bubblewrap does not run: {type(error).__name__}"
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        reason = said[-1][:200] if said else f"status {done.returncode}"
        return None, f"bubblewrap does not run: {reason}"
    return bwrap, ""
