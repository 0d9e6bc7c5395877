"""The six clients of the matrix: what to run for each."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.helpers import node_packages

ROOT = Path(__file__).resolve().parents[2]
FASTMCP = "fastmcp==4.1.2"
INSTALL_SECONDS = 600.0


@dataclass(frozen=True)
class PeerClient:
    """A client program; it is given the path of a target file as its last argument.

    `cancels` says whether it tells the server of a cancelled call, or can only go away.
    """

    name: str
    argv: tuple[str, ...]
    cancels: bool = True


def client(name: str) -> PeerClient:
    """Return the client of that name, with what it needs installed.

    Raises `KeyError` for a name not in `NAMES` and `subprocess.CalledProcessError` when an
    installation fails.
    """
    return _MAKERS[name](name)


def _python(name: str) -> PeerClient:
    mode = name.removeprefix("python-")
    return PeerClient(name, (sys.executable, "-m", "tests.peers.clients_python", mode))


def _fastmcp(name: str) -> PeerClient:
    python = fastmcp_python()
    return PeerClient(name, (str(python), "-m", "tests.peers.fastmcp_client"))


def _typescript(name: str) -> PeerClient:
    node_packages.node_modules()
    script = Path(__file__).with_name(f"{name.replace('-', '_')}.mjs")
    return PeerClient(name, (str(node_packages.node()), str(script)))


def _inspector(name: str) -> PeerClient:
    node_packages.node_modules()
    return PeerClient(name, (sys.executable, "-m", "tests.peers.inspector"), cancels=False)


def fastmcp_python() -> Path:
    # An environment of its own: it brings 35 packages that nothing else here needs.
    folder = ROOT / ".venv-fastmcp"
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    mark = folder / ".installed"
    if mark.is_file() and mark.read_text(encoding="ascii") == FASTMCP:
        return python
    _run(sys.executable, "-m", "venv", "--clear", str(folder))
    _run(str(python), "-m", "pip", "install", "--quiet", FASTMCP)
    mark.write_text(FASTMCP, encoding="ascii")
    return python


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, timeout=INSTALL_SECONDS, stdout=subprocess.DEVNULL)


_MAKERS = {
    "python-auto": _python,
    "python-legacy": _python,
    "fastmcp": _fastmcp,
    "ts-v1": _typescript,
    "ts-v2": _typescript,
    "inspector": _inspector,
}
NAMES = tuple(_MAKERS)
