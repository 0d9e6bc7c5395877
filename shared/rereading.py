"""What SIGHUP has read again, part by part: one that breaks ends nothing else.

Whoever asks for it may be in the middle of changing what is read.
"""

import traceback
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple


class Part(NamedTuple):
    """One thing that is read again; `read` says what became of it, "" where nobody need know."""

    name: str
    read: Callable[[], Awaitable[str]]


async def read_parts(parts: Iterable[Part], broke: Callable[[str, str], None]) -> str:
    """Read each, and return what they say in one line.

    `broke` is told of one that raised what it should not: its name, and what it was.
    """
    said: list[str] = []
    for part in parts:
        try:
            said.append(await part.read())
        except Exception as error:  # noqa: BLE001 - the program serves on, whatever it is
            broke(part.name, what_broke(error))
            said.append(f"{part.name} not read")
    return ", ".join(each for each in said if each)


def what_broke(error: Exception) -> str:
    """Name the kind of an exception and where it began; its text may hold what was read."""
    trace = traceback.extract_tb(error.__traceback__)
    place = f" at {trace[-1].filename}:{trace[-1].lineno}" if trace else ""
    return f"{type(error).__name__}{place}"
