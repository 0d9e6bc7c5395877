"""What stands in the place of segments that retention removed: where the rest goes on.

The file says it for the first segment that is left. That two people wanted it is a record in the
log, which says the same numbers; `verify` wants both.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from shared.audit.private import AuditError, read_private, write_private
from shared.audit.segments import Segment, segments
from shared.record.verify import Start

FILE = "tombstone"


def start_of(facts: Mapping[str, object]) -> Start:
    """Read `size`, `hash` and `edge`; raises ValueError."""
    size, made, edge = (facts.get(name) for name in ("size", "hash", "edge"))
    if type(size) is not int or not isinstance(made, str) or not isinstance(edge, list):
        raise ValueError("no place in a log")
    nodes = tuple(bytes.fromhex(node) for node in edge if isinstance(node, str))
    found = Start(size, bytes.fromhex(made), nodes)
    if len(found.hash) != 32 or len(nodes) != size.bit_count() or size < 0:
        raise ValueError("no place in a log")
    return found


def facts_of(start: Start) -> dict[str, object]:
    """Return the members that say where a log goes on."""
    edge = [node.hex() for node in start.edge]
    return {"edge": edge, "hash": start.hash.hex(), "size": start.size}


def write_start(folder: Path, start: Start) -> None:
    """Say where the log goes on: never before where it did; raises AuditError."""
    if start.size < (left := read_start(folder).size):
        raise AuditError(f"records below {left} were removed already")
    write_private(folder / FILE, json.dumps(facts_of(start), sort_keys=True).encode() + b"\n")


def read_start(folder: Path) -> Start:
    """Return where the log goes on: at its beginning, unless it is said; raises AuditError."""
    path = folder / FILE
    try:
        facts = json.loads(read_private(path))
        return start_of(facts if isinstance(facts, dict) else {})
    except FileNotFoundError:
        return Start()
    except (ValueError, RecursionError):
        raise AuditError(f"{path} says nothing") from None


def kept(folder: Path) -> tuple[Start, list[Segment]]:
    """Return where the log begins, and its segments from there on; raises AuditError.

    What lies below is about to be removed: somebody was killed while he did it.
    """
    start = read_start(folder)
    return start, [each for each in segments(folder) if each.first >= start.size]
