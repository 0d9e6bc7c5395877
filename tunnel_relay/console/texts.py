"""JSON texts on pages: a part at a time, laid out beside the loop that carries every tunnel."""

from collections.abc import Callable
from dataclasses import dataclass

from tunnel_relay.approvals import shown
from tunnel_relay.approvals.shown import LaidOut, Line
from tunnel_relay.console.paging import number_of
from tunnel_relay.console.visit import Visit


@dataclass(frozen=True, slots=True)
class Part:
    """What a page shows of a text, how much there is in all, and where the rest is."""

    name: str
    lines: list[Line]
    bytes: int
    total: int
    """Lines of the whole text."""
    hidden: int
    first: int
    """Which line this part begins with, or within."""
    number: int
    of: int
    links: list[str]
    """To each of the parts."""


async def part_of(
    visit: Visit,
    here: str,
    name: str,
    text: str | None,
    lay_out: Callable[[str], LaidOut] = shown.laid_out,
) -> Part | None:
    """Return the part of a text that the page `here` is asked for under `name`."""
    if text is None:
        return None
    asked = number_of(visit.query(name))
    return await visit.site.beside(lambda: cut_out(lay_out(text), asked, here, name))


def cut_out(whole: LaidOut, asked: int, here: str, name: str) -> Part:
    """Return a part of what is laid out, the last one where there are not as many."""
    parts = shown.parts(whole.lines)
    number = min(asked, len(parts))
    before = [line for part in parts[: number - 1] for line in part]
    start = f"{here}{'&' if '?' in here else '?'}{name}="
    return Part(
        name,
        parts[number - 1],
        whole.bytes,
        len(whole.lines),
        whole.hidden,
        1 + sum(line.note != shown.GOES_ON for line in before),
        number,
        len(parts),
        [f"{start}{each}#{name}" for each in range(1, len(parts) + 1)],
    )
