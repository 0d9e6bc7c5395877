"""Holds open what a child will be shown, and sees that it is what was agreed to.

A server that runs may write where another one's folder lies, and exchange that for a link to ours
after it was looked at. What is mounted, or let through Landlock, is what was judged here.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path


class BentError(Exception):
    """A path leads elsewhere than was agreed to; says which, for operators."""


def hold(agreed: Mapping[str, str]) -> dict[str, int]:
    """Open each path as a place, which has to be the one that it was agreed to lead to.

    Returns descriptors by path, for `let_go`; raises BentError and OSError.
    """
    held: dict[str, int] = {}
    try:
        for path, place in agreed.items():
            held[path] = os.open(path, os.O_PATH | os.O_CLOEXEC)
            now = str(Path(f"/proc/self/fd/{held[path]}").readlink())
            if now != place:
                raise BentError(f"{path} leads to {now} now")
    except BaseException:
        let_go(held)
        raise
    return held


def let_go(held: Mapping[str, int]) -> None:
    """Close what is held."""
    for descriptor in held.values():
        with suppress(OSError):
            os.close(descriptor)
