"""What of the file system a program needs to run at all: its files, and where it is installed.

The chain of a program is every file that a start of it goes through: the links that lead to it,
the interpreter its first line names, and the scripts that an interpreter is given. The tree of a
file is the smallest folder that holds an installation: the topmost `node_modules` above it, the
prefix above `bin` (when that has a `lib` or is a virtual environment), else the file's own folder.
Where that folder is too broad (a home, or one that holds our own key) only the file is taken.
"""

import os
import shutil
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunnel_client.sandbox.scripts import scripts_of

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""What every program may read; where a system has merged them they are links into /usr."""
STDLIB = Path(sysconfig.get_path("stdlib")).name
"""The folder of the standard library of the Python that runs us, below its `lib`."""
_BROAD = {
    Path(each)
    for each in (
        *("/", "/home", "/root", "/etc", "/var", "/var/lib", "/tmp", "/opt", "/srv", "/mnt"),  # noqa: S108
        *("/media", "/run", "/proc", "/sys", "/dev", "/boot", "/data", "/Users"),
    )
}
_MAX_LINKS = 40
_MAX_INTERPRETERS = 4
_FIRST_LINE_BYTES = 512


@dataclass(frozen=True, slots=True)
class Chain:
    """`places` are all names on the way, `files` the regular files behind them, resolved."""

    places: tuple[Path, ...]
    files: tuple[Path, ...]


def chain_of(argv: Sequence[str], cwd: Path | None, environ: Mapping[str, str]) -> Chain:
    """Return what starting `argv` goes through; `argv[0]` is absolute, `environ` is the child's.

    What does not exist is left out: the start will fail by itself.
    """
    places: list[Path] = []
    files: list[Path] = []
    _follow(Path(argv[0]), environ, places, files, _MAX_INTERPRETERS)
    for script in scripts_of(argv, cwd, environ):
        _follow(script, environ, places, files, _MAX_INTERPRETERS)
    return Chain(tuple(dict.fromkeys(places)), tuple(dict.fromkeys(files)))


def _follow(
    place: Path, environ: Mapping[str, str], places: list[Path], files: list[Path], depth: int
) -> None:
    for _ in range(_MAX_LINKS):
        places.append(place)
        if not place.is_symlink():
            break
        target = place.parent / place.readlink()
        # The kernel takes `..` from where a folder really is; what reads the path in a sandbox
        # needs the folders that it names as well.
        named = Path(os.path.normpath(target))
        place = Path(os.path.realpath(target.parent), target.name)
        if named != place and named.exists() and named.samefile(place):
            places.append(named)
    real = Path(os.path.realpath(place))
    if not real.is_file():
        return
    places.append(real)
    files.append(real)
    interpreter = _interpreter(real, environ)
    if interpreter is not None and depth > 0:
        _follow(interpreter, environ, places, files, depth - 1)


def _interpreter(file: Path, environ: Mapping[str, str]) -> Path | None:
    try:
        with file.open("rb") as opened:
            line = opened.readline(_FIRST_LINE_BYTES)
    except OSError:
        return None
    if not line.startswith(b"#!"):
        return None
    words = line[2:].decode(errors="replace").split()
    if words and Path(words[0]).name == "env":
        names = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        found = shutil.which(names[0], path=environ.get("PATH", os.defpath)) if names else None
        return Path(found) if found else None
    return Path(words[0]) if words and words[0].startswith("/") else None


def trees_of(chain: Chain, protected: Iterable[Path], home: Path | None) -> list[Path]:
    """Return the folders and files a child has to read for its program to run.

    None of them holds one of `protected` or is `home` or above it.
    """
    kept = [Path(os.path.realpath(each)) for each in protected]
    kept += [home] if home is not None else []
    found = [_tree(place, kept) for place in chain.places]
    return [each for each in dict.fromkeys(found) if not any(map(each.is_relative_to, SYSTEM))]


def python_trees(program: Path, protected: Iterable[Path], home: Path | None) -> list[Path]:
    """Return what a Python reads to run our launcher, which imports nothing but its library.

    That is its prefix, as a program of the upstream may be made of it. A prefix that holds more,
    as `~/.local` does, shows the Python alone.
    """
    if any(map(program.is_relative_to, SYSTEM)):
        return []
    kept = [Path(os.path.realpath(each)) for each in protected]
    kept += [home] if home is not None else []
    prefix = program.parent.parent
    if not is_broad(prefix, kept):
        return [prefix]
    libraries = [prefix / name / STDLIB for name in ("lib", "lib64")]
    libraries += sorted(each for name in ("lib", "lib64") for each in prefix.glob(f"{name}/libpy*"))
    there = [each for each in libraries if each.exists() and not is_broad(each, kept)]
    return [program, *there]


def _tree(place: Path, kept: Sequence[Path]) -> Path:
    above = [parent for parent in place.parents if parent.name == "node_modules"]
    prefix = place.parent.parent
    if above:
        candidates = [above[-1]]
    elif place.parent.name == "bin" and (
        (prefix / "pyvenv.cfg").exists() or (prefix / "lib").is_dir()
    ):
        candidates = [prefix, place.parent]
    else:
        candidates = [place.parent]
    return next((each for each in candidates if not is_broad(each, kept)), place)


def is_broad(folder: Path, kept: Iterable[Path]) -> bool:
    """Tell whether a folder holds more than one installation may show."""
    real = Path(os.path.realpath(folder))
    return real in _BROAD or any(each.is_relative_to(real) for each in kept)
