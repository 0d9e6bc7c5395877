"""Holds open what a child will be shown, and judges what is held: a name can be bent meanwhile.

A server that runs may write where another one's folder lies, and exchange that for a link to ours
after it was looked at. What is mounted, or let through Landlock, is what was judged here.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tunnel_client.sandbox.trees import is_broad


class BentError(Exception):
    """A path leads elsewhere than was agreed to; says which, for operators."""


def hold(
    listed: Mapping[str, str], trees: Sequence[str], files: Sequence[str], own: Iterable[Path]
) -> dict[str, int]:
    """Open each path as a place, and check where it leads; returns descriptors for `let_go`.

    `listed` says where each was agreed to lead. The `trees` are what a program reads to run, by
    the places of its `files`, which were compared with the consent; `own` are our own files.
    Raises BentError and OSError.
    """
    ours = [Path(os.path.realpath(each)) for each in own]
    held: dict[str, int] = {}
    try:
        for path in dict.fromkeys([*listed, *trees]):
            held[path] = os.open(path, os.O_PATH | os.O_CLOEXEC)
            place = str(Path(f"/proc/self/fd/{held[path]}").readlink())
            if path in listed:
                good = place == listed[path]
            else:
                good = _is_of_program(path, Path(place), trees, files, ours)
            if not good:
                raise BentError(f"{path} leads to {place} now")
    except BaseException:
        let_go(held)
        raise
    return held


def _is_of_program(
    path: str, place: Path, trees: Sequence[str], files: Sequence[str], ours: Sequence[Path]
) -> bool:
    """Tell whether a place holds what was looked at for the consent, and nothing of ours."""
    if is_broad(place, ours):
        return False
    if any(place.is_relative_to(each) and not Path(path).is_relative_to(each) for each in ours):
        return False
    return str(place) in trees or any(Path(each).is_relative_to(place) for each in files)


def let_go(held: Mapping[str, int]) -> None:
    """Close what is held."""
    for descriptor in held.values():
        with suppress(OSError):
            os.close(descriptor)
