"""`changed.json`: which pinned tools were seen with another definition, for the next start.

The daemon writes it and commands read it. A mark names the approval it was seen against, so that
pinning anew undoes it, whichever of the two files is older. A file that is broken, or that others
could change, is an error and never an empty one: it would trust again what nobody looked at.
"""

from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from tunnel_client.catalog.definitions import MAX_NAME, Kind
from tunnel_client.catalog.pins import FILE_NAME as PINS_FILE
from tunnel_client.catalog.pins import Approval, Pins
from tunnel_client.catalog.stored import SHA256, members, read_json, upstreams_of, write_json
from tunnel_client.errors_upstreams import BrokenPinsError

FILE_NAME = "changed.json"

Table = dict[tuple[str, str], Approval]
"""By upstream and tool."""


class Marks:
    """The marks as the file has them."""

    def __init__(self, folder: Path) -> None:
        """Read the file; raises BrokenPinsError and UnsafeFileError."""
        self._path = folder / FILE_NAME
        self.table = read_marks(folder)

    def of(self, upstream: str) -> dict[str, Approval]:
        """Return the marks of one upstream by tool."""
        return {tool: found for (where, tool), found in self.table.items() if where == upstream}

    def of_others(self, upstreams: Container[str], pins: Pins) -> Table:
        """Return the marks of upstreams not configured now, which may be so again."""
        return {
            (upstream, tool): approval
            for (upstream, tool), approval in self.table.items()
            if upstream not in upstreams
            and ((pin := pins.get(upstream, Kind.TOOL, tool)) is None or pin.approval == approval)
        }

    def save(self, table: Mapping[tuple[str, str], Approval]) -> None:
        """Have the file say this; writes nothing when it does. Raises StateWriteError."""
        if table != self.table:
            write_json(self._path, _encode(table))
            self.table = dict(table)


def read_marks(folder: Path) -> Table:
    """Return every mark of a state folder; none when nothing was seen to change yet.

    Raises BrokenPinsError and UnsafeFileError, which name the file and the reason.
    """
    return read_json(folder / FILE_NAME, _decode, _broken) or {}


def _broken(cause: str) -> BrokenPinsError:
    # Without the pins nothing is trusted; without the marks alone all would be again.
    what = f"restore {FILE_NAME}, or move it and {PINS_FILE} away and pin again"
    return BrokenPinsError(cause, f"{what}: tunnel-client tool pin NAME")


def _encode(table: Mapping[tuple[str, str], Approval]) -> dict[str, Any]:
    upstreams: dict[str, dict[str, Any]] = {}
    for (upstream, tool), approval in sorted(table.items()):
        upstreams.setdefault(upstream, {})[tool] = approval._asdict()
    return upstreams


def _decode(whole: object) -> Table:
    table: Table = {}
    for upstream, tools in upstreams_of(whole):
        for tool, entry in members(tools, f"upstreams.{upstream}"):
            where = f"upstreams.{upstream}.{tool[:128]!r}"
            table[upstream, tool] = _approval(tool, entry, where)
    return table


def _approval(tool: str, entry: object, where: str) -> Approval:
    if not isinstance(entry, dict) or set(entry) != {"sha256", "pinned"}:
        raise ValueError(f"{where} is not an approval")
    sha256, pinned = entry["sha256"], entry["pinned"]
    if not 0 < len(tool) <= MAX_NAME or type(pinned) is not int:
        raise ValueError(f"{where}: the name or the time is not what was written there")
    if not isinstance(sha256, str) or not SHA256.fullmatch(sha256):
        raise ValueError(f"{where}: sha256 is not 64 hex digits")
    return Approval(sha256, pinned)
