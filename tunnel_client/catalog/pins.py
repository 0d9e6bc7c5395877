"""`pins.json`: which definition of which tool an operator approved, and of which class it is.

A file that is broken, or that others could change, is an error and never an empty one: with no pins
at all nothing would look changed any more.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from shared.policy.classes import ToolClass
from tunnel_client.catalog.definitions import MAX_NAME, Kind
from tunnel_client.catalog.stored import SHA256, members, read_json, upstreams_of, write_json
from tunnel_client.errors import StateWriteError
from tunnel_client.errors_upstreams import BrokenPinsError
from tunnel_client.files import check_folder, owners_of

FILE_NAME = "pins.json"
_MEMBERS = frozenset({"sha256", "class", "definition", "pinned", "by"})


class Approval(NamedTuple):
    """Which definition was approved when; the same for a pin that was only given another class."""

    sha256: str
    pinned: int


@dataclass(frozen=True, slots=True)
class Pin:
    """One approval: this definition, this class. `tool_class` is None for what is not a tool.

    `pinned` is the time in seconds since 1970; `by` is the operator's name on this machine.
    """

    name: str
    sha256: str
    tool_class: ToolClass | None
    definition: str = field(repr=False)
    pinned: int
    by: str

    @property
    def approval(self) -> Approval:
        """Return what of it is new when it is pinned anew, be it as it was."""
        return Approval(self.sha256, self.pinned)


Key = tuple[str, Kind, str]
"""Upstream, kind, name."""
Table = dict[Key, Pin]
_Stamp = tuple[int, int, int, int] | None


class Pins:
    """The pins as they are in memory; `refresh` takes in what commands wrote meanwhile."""

    def __init__(self, folder: Path) -> None:
        """Read the file; raises BrokenPinsError and UnsafeFileError."""
        self.folder = folder
        self._path = folder / FILE_NAME
        self._stamp = _stamp(self._path)
        self.table = read_pins(folder)
        self.version = 0
        """Grows with each change that was taken in."""

    def get(self, upstream: str, kind: Kind, name: str) -> Pin | None:
        """Return the pin of one thing, None when nobody pinned it."""
        return self.table.get((upstream, kind, name))

    def of(self, upstream: str, kind: Kind) -> dict[str, Pin]:
        """Return all pins of a kind at an upstream by name."""
        return {
            name: pin
            for (where, what, name), pin in self.table.items()
            if where == upstream and what is kind
        }

    def refresh(self) -> bool:
        """Read the file again if it is another one; tells whether it was.

        Cheap when nothing changed: one stat. Raises as `__init__`, once for a broken file,
        and then keeps what was known.
        """
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return False
        # A file that was there and is gone took every approval with it: that is what it says.
        self._stamp = stamp
        self.table = read_pins(self.folder)
        self.version += 1
        return True


def read_pins(folder: Path) -> Table:
    """Return every pin of a state folder; none when nothing was pinned yet.

    Raises BrokenPinsError and UnsafeFileError, which name the file and the reason.
    """
    return read_json(folder / FILE_NAME, _decode, BrokenPinsError) or {}


@contextlib.contextmanager
def editing(folder: Path) -> Iterator[Table]:
    """Give the table to change and write it at the end of the block; one writer at a time.

    Nothing is written when the block raises. Root may do it for the user the daemon runs as: the
    file is then that user's. Raises BrokenPinsError, UnsafeFileError and StateWriteError.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_folder(folder, owners_of(folder))
        # The folder itself is the lock: a file would be one more thing to own.
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StateWriteError(f"cannot write in {folder}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        table = read_pins(folder)
        before = dict(table)
        yield table
        if table != before:
            write_json(folder / FILE_NAME, _encode(table))
    finally:
        os.close(descriptor)


def _stamp(path: Path) -> _Stamp:
    try:
        facts = path.stat(follow_symlinks=False)
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size


def _encode(table: Mapping[Key, Pin]) -> dict[str, Any]:
    upstreams: dict[str, dict[str, dict[str, Any]]] = {}
    for (upstream, kind, name), pin in sorted(table.items()):
        entry: dict[str, Any] = {"sha256": pin.sha256}
        if pin.tool_class is not None:
            entry["class"] = pin.tool_class.value
        entry |= {"definition": pin.definition, "pinned": pin.pinned, "by": pin.by}
        upstreams.setdefault(upstream, {}).setdefault(kind.value, {})[name] = entry
    return upstreams


def _decode(whole: object) -> Table:
    table: Table = {}
    for upstream, kinds in upstreams_of(whole):
        for word, entries in members(kinds, f"upstreams.{upstream}"):
            if word not in set(Kind):
                raise ValueError(f"upstreams.{upstream} has an unknown kind")
            kind = Kind(word)
            for name, entry in members(entries, f"upstreams.{upstream}.{kind}"):
                where = f"upstreams.{upstream}.{kind}.{name[:128]!r}"
                table[upstream, kind, name] = _pin(kind, name, entry, where)
    return table


def _pin(kind: Kind, name: str, entry: object, where: str) -> Pin:
    if not isinstance(entry, dict) or not set(entry) <= _MEMBERS or not 0 < len(name) <= MAX_NAME:
        raise ValueError(f"{where} is not a pin")
    sha256, given = entry.get("sha256"), entry.get("class")
    if not isinstance(sha256, str) or not SHA256.fullmatch(sha256):
        raise ValueError(f"{where}: sha256 is not 64 hex digits")
    if (kind is Kind.TOOL) != ("class" in entry):
        raise ValueError(f"{where}: a tool has a class, and nothing else has")
    tool_class = None
    if kind is Kind.TOOL:
        if given not in set(ToolClass):
            raise ValueError(f"{where}: class is none of {', '.join(ToolClass)}")
        tool_class = ToolClass(given)
    definition, pinned, by = (entry.get(key) for key in ("definition", "pinned", "by"))
    if type(definition) is not str or type(pinned) is not int or type(by) is not str:
        raise ValueError(f"{where}: definition, pinned or by is not what was written there")
    # What an operator is shown in a diff must be what was approved.
    if hashlib.sha256(definition.encode()).hexdigest() != sha256:
        raise ValueError(f"{where}: sha256 is not that of the definition")
    return Pin(name, sha256, tool_class, definition, pinned, by)
