"""Where in a TOML text each key stands; tomllib does not say.

Works on text that tomllib has accepted, so that a scan for strings, brackets and ends of lines
is enough (TOML 1.0).
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\''
    r"|#[^\n]*|\n|[\[\]{}=]|[^\"'#\n\[\]{}=]+",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Statement:
    """One table header or one key with its value, and where in the text it stands.

    The first `table` parts of `path` are of the table; `value` is where the value begins and ends,
    the same place twice for a header. `start` and `end` are those of its lines, whole.
    """

    line: int
    path: Path
    table: int
    value: tuple[int, int]
    start: int
    end: int

    @property
    def header(self) -> bool:
        """Tell whether it opens a table."""
        return len(self.path) == self.table


def statements(text: str) -> Iterator[Statement]:
    """Yield what is written in `text`, in its order."""
    entries: dict[Path, int] = {}
    table: Path = ()
    for head, line, value, start, end in _pieces(text):
        if head.startswith("[["):
            path = _with_entries(_keys(head[2:-2]), entries)
            entries[path] = entries.get(path, -1) + 1
            path = table = (*path, entries[path])
        elif head.startswith("["):
            path = table = _with_entries(_keys(head[1:-1]), entries)
        else:
            path = (*table, *_keys(head))
        yield Statement(line, path, len(table), value, start, end)


def lines_by_path(text: str) -> dict[Path, int]:
    """Map each table and key written in `text` to its line, counted from 1.

    A key inside an inline table or array is not listed; it stands on its statement's line or below.
    """
    lines: dict[Path, int] = {}
    for each in statements(text):
        if not each.header:
            for length in range(each.table + 1, len(each.path) + 1):
                lines.setdefault(each.path[:length], each.line)
            continue
        if isinstance(each.path[-1], int):
            lines.setdefault(each.path[:-1], each.line)
        lines.setdefault(each.path, each.line)
    return lines


def line_of(lines: dict[Path, int], path: Path) -> int:
    """Return the line of `path`, or of the closest table or key around it."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return 1


def _pieces(text: str) -> Iterator[tuple[str, int, tuple[int, int], int, int]]:
    """Yield head (a table header, or the key before `=`), line, value, start and end of each."""
    line, depth, head, in_value, started = 1, 0, "", False, 0
    at = first = begun = value = ended = 0
    for piece in _TOKEN.findall(text + "\n"):
        at += len(piece)
        said = not piece.startswith("#") and piece.strip()
        if piece == "\n" and depth == 0:
            if head.strip():
                yield head.strip(), started, (value or ended, ended), begun, min(at, len(text))
            head, in_value, first, value = "", False, at, 0
        elif piece in ("[", "{"):
            depth += 1
        elif piece in ("]", "}"):
            depth -= 1
        elif piece == "=" and depth == 0:
            in_value = True
            said = ""
        if said:
            ended = at - len(piece) + len(piece.rstrip())
            if in_value and not value:
                value = at - len(piece.lstrip())
        if not in_value and piece != "\n" and not piece.startswith("#"):
            if not head.strip():
                started, begun = line, first
            head += piece
        line += piece.count("\n")


def _keys(text: str) -> tuple[str, ...]:
    """Read a dotted key with TOML's own quoting rules."""
    keys: list[str] = []
    here: Any = tomllib.loads(f"{text.strip()} = 0")
    while isinstance(here, dict):
        (key, here), *_ = here.items()
        keys.append(key)
    return tuple(keys)


def _with_entries(keys: tuple[str, ...], entries: dict[Path, int]) -> Path:
    """Insert the current entry after each array of tables that leads to the last key."""
    path: Path = ()
    for key in keys[:-1]:
        path = (*path, key)
        if path in entries:
            path = (*path, entries[path])
    return (*path, keys[-1])
