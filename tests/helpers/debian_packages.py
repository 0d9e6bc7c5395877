"""Install Debian packages that tests need and pip cannot bring: a browser, a sandbox, systemd.

    python -m tests.helpers.debian_packages     # as root: what is missing, else nothing

Done by root where `apt-get` is; anybody else is told what to install.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

BROWSER = {"chromium": "chromium", "chromedriver": "chromium-driver"}
"""The programs of the browser tests, and the packages they come in."""
SANDBOX = {"bwrap": "bubblewrap"}
"""The program that the sandbox of stdio servers is made with, and its package."""
SYSTEMD = {"systemd-analyze": "systemd", "systemctl": "systemd"}
"""The programs that judge and enable units, and their package; nothing of it has to run."""
INSTALL_SECONDS = 600.0
NEVER = "TUNNEL_TESTS_NO_APT"
"""The environment variable that keeps the tests from installing anything."""


def missing(programs: Mapping[str, str]) -> list[str]:
    """Return the packages of programs that are not there."""
    return sorted({package for name, package in programs.items() if shutil.which(name) is None})


def install(programs: Mapping[str, str]) -> str | None:
    """Install what is missing; returns None when all is there now, else why it is not."""
    with _only_one_installer():
        packages = missing(programs)
        if not packages:
            return None
        wanted = f"apt-get install {' '.join(packages)}"
        apt = shutil.which("apt-get")
        if apt is None or os.geteuid() != 0 or os.environ.get(NEVER):
            return f"not installed: {', '.join(packages)} ({wanted})"
        for words in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            done = subprocess.run(
                [apt, "-qq", *words],
                check=False,
                capture_output=True,
                text=True,
                timeout=INSTALL_SECONDS,
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            )
        if done.returncode:
            return f"{wanted} failed: {done.stderr.strip()[-300:]}"
        return None


@contextmanager
def _only_one_installer() -> Iterator[None]:
    # The kernel frees the lock when its holder dies, so a killed install blocks nobody.
    lock = Path(tempfile.gettempdir()) / f"tunnel-tests-apt-{os.geteuid()}.lock"
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(lock, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def main() -> None:
    """Install all of it, or say why not."""
    problem = install(BROWSER | SANDBOX | SYSTEMD)
    if problem is not None:
        raise SystemExit(problem)


if __name__ == "__main__":
    main()
