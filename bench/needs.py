"""Find the programs that peers and loads need; say how to install them, or install them."""

import os
import shutil
import subprocess
import venv
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PLACE = HERE / ".peers"
DEBIAN = ("wrk", "openssh-server", "openssh-client", "nginx-light", "openssl")
FASTMCP = "fastmcp==4.1.2"
SUPERGATEWAY = "supergateway@4.0.0"


class MissingError(Exception):
    """A program is not here; the message says which, and how to get it."""


@dataclass(frozen=True, slots=True)
class Need:
    """A program, where it may be, and the command that installs it."""

    program: str
    install: str
    place: Path | None = None

    def find(self) -> str | None:
        """The path of the program, None when it is missing."""
        if self.place is not None and self.place.exists():
            return str(self.place)
        # Debian keeps daemons where an ordinary user's PATH does not look.
        return shutil.which(self.program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")

    def path(self) -> str:
        """The path of the program; MissingError when there is none."""
        found = self.find()
        if found is None:
            raise MissingError(f"{self.program}: {self.install}")
        return found


def _debian(program: str, package: str) -> Need:
    return Need(program, f"apt-get install {package}")


WRK = _debian("wrk", "wrk")
NGINX = _debian("nginx", "nginx-light")
SSHD = _debian("sshd", "openssh-server")
SSH = _debian("ssh", "openssh-client")
SSH_KEYGEN = _debian("ssh-keygen", "openssh-client")
OPENSSL = _debian("openssl", "openssl")
NPM = _debian("npm", "npm")
FASTMCP_PYTHON = Need(
    "python-with-fastmcp",
    f"python -m venv bench/.peers/fastmcp && bench/.peers/fastmcp/bin/pip install {FASTMCP}",
    PLACE / "fastmcp/bin/python",
)
SUPERGATEWAY_PROGRAM = Need(
    "supergateway",
    f"npm install --prefix bench/.peers/node {SUPERGATEWAY}",
    PLACE / "node/node_modules/.bin/supergateway",
)
ALL = (WRK, NGINX, SSHD, SSH, SSH_KEYGEN, OPENSSL, FASTMCP_PYTHON, SUPERGATEWAY_PROGRAM)


def missing() -> list[Need]:
    """The needs that are not met here."""
    return [need for need in ALL if need.find() is None]


def install() -> None:
    """Install what is missing: Debian packages as root, the rest below bench/.peers.

    CalledProcessError when an installer fails; MissingError when packages need root and we are not.
    """
    wanted = missing()
    if any(need.install.startswith("apt-get") for need in wanted):
        if os.geteuid() != 0:
            raise MissingError(f"as root: apt-get install {' '.join(DEBIAN)}")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update"], check=True, timeout=300, env=environment)
        subprocess.run(
            ["apt-get", "install", "-y", "--no-install-recommends", *DEBIAN],
            check=True,
            timeout=900,
            env=environment,
        )
    if FASTMCP_PYTHON in wanted:
        # An environment of its own: its dependencies are not ours.
        venv.create(PLACE / "fastmcp", with_pip=True)
        pip = [str(PLACE / "fastmcp/bin/python"), "-m", "pip", "install", "--quiet", FASTMCP]
        _installed(pip, PLACE / "fastmcp")
    if SUPERGATEWAY_PROGRAM in wanted:
        (PLACE / "node").mkdir(parents=True, exist_ok=True)
        _installed(
            [
                NPM.path(),
                "install",
                "--no-fund",
                "--no-audit",
                "--prefix",
                str(PLACE / "node"),
                SUPERGATEWAY,
            ],
            PLACE / "node",
        )


def _installed(argv: list[str], place: Path) -> None:
    try:
        subprocess.run(argv, check=True, timeout=900)
    except (subprocess.SubprocessError, OSError):
        # Half an environment would look like a whole one to the next run.
        shutil.rmtree(place, ignore_errors=True)
        raise
