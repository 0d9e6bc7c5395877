"""On which line of a TOML text each key stands; tomllib does not say.

Works on text that tomllib has accepted, so that a scan for strings, brackets and ends of lines
is enough (TOML 1.0).
"""

import re
import tomllib
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\''
    r"|#[^\n]*|\n|[\[\]{}=]|[^\"'#\n\[\]{}=]+",
    re.DOTALL,
)


def lines_by_path(text: str) -> dict[Path, int]:
    """Map each table and key written in `text` to its line, counted from 1.

    A key inside an inline table or array is not listed; it stands on its statement's line or below.
    """
    lines: dict[Path, int] = {}
    entries: dict[Path, int] = {}
    table: Path = ()
    for line, head in _statements(text):
        if head.startswith("[["):
            path = _with_entries(_keys(head[2:-2]), entries)
            entries[path] = entries.get(path, -1) + 1
            lines.setdefault(path, line)
            table = (*path, entries[path])
            lines[table] = line
        elif head.startswith("["):
            table = _with_entries(_keys(head[1:-1]), entries)
            lines.setdefault(table, line)
        else:
            path = table
            for key in _keys(head):
                path = (*path, key)
                lines.setdefault(path, line)
    return lines


def line_of(lines: dict[Path, int], path: Path) -> int:
    """Return the line of `path`, or of the closest table or key around it."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return 1


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the head of each statement: a table header, or the key before `=`."""
    line, depth, head, in_value, started = 1, 0, "", False, 0
    for piece in _TOKEN.findall(text + "\n"):
        if piece == "\n" and depth == 0:
            if head.strip():
                yield started, head.strip()
            head, in_value = "", False
        elif piece in ("[", "{"):
            depth += 1
        elif piece in ("]", "}"):
            depth -= 1
        elif piece == "=" and depth == 0:
            in_value = True
        if not in_value and piece != "\n" and not piece.startswith("#"):
            if not head.strip():
                started = line
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
