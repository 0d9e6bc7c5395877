"""How far an export is: a small file beside the log, written when a sink has what it says."""

import json
import re
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from shared.audit.private import MAX_BYTES, AuditError, read_private, write_private
from shared.record.export.otlp_metrics import Kept

_REMEDY = "remove it to send all again"
_HASH = re.compile(r"[0-9a-f]{64}|")


class Cursor(NamedTuple):
    """The place reached."""

    next: int = 0
    """Number of the first record that the sink does not have."""
    hash: str = ""
    """Hash of the record before it: another log has another one there."""
    open: int = 0
    """Number of the oldest intent that a completion to come may name."""
    missed: int = 0
    """Records that were removed before they were exported, ever."""
    totals: Kept = MappingProxyType({})
    """What was counted up to there, by a format that counts."""


def cursor_path(folder: Path, name: str) -> Path:
    """Return where the place of an export is kept."""
    return folder / f"export-{name}.cursor"


def read_cursor(path: Path) -> Cursor:
    """Return the place reached, the beginning when nothing says so; raises AuditError."""
    try:
        found = json.loads(read_private(path))
    except FileNotFoundError:
        return Cursor()
    except AuditError as error:
        raise AuditError(f"{error}; {_REMEDY}") from None
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        counts = [found.get(name) for name in ("next", "open", "missed")]
        mark = found.get("hash")
        whole = all(type(each) is int and each >= 0 for each in counts)
        totals = found.get("totals", {})
        if whole and isinstance(mark, str) and _HASH.fullmatch(mark) and _are_totals(totals):
            return Cursor(found["next"], mark, found["open"], found["missed"], totals)
    raise AuditError(f"{path} does not say how far the export is; {_REMEDY}")


def _are_totals(found: object) -> bool:
    return isinstance(found, dict) and all(
        isinstance(each, list) and all(type(count) is int and count >= 0 for count in each)
        for each in found.values()
    )


def write_cursor(path: Path, cursor: Cursor) -> None:
    """Keep the place reached, whole or not at all; raises AuditError.

    Totals too large to be read again are left out: the next start then counts from nothing.
    """
    content = _spelled(cursor)
    if len(content) > MAX_BYTES:
        content = _spelled(cursor._replace(totals={}))
    write_private(path, content)


def _spelled(cursor: Cursor) -> bytes:
    kept = cursor._asdict() | {"totals": dict(cursor.totals)}
    return json.dumps(kept, sort_keys=True).encode() + b"\n"
