"""What stands in the place of segments that retention removed: where the rest goes on.

The file says it for the first segment that is left. That it was done by two people is a record in
the log, which says the same numbers; `verify` wants both.
"""

import json
from pathlib import Path

from shared.audit.ends import start_of
from shared.audit.private import AuditError, read_private, write_private
from shared.record.verify import Start

FILE = "tombstone"


def write_start(folder: Path, start: Start) -> None:
    """Say where the log goes on; raises AuditError."""
    write_private(folder / FILE, json.dumps(facts_of(start), sort_keys=True).encode() + b"\n")


def facts_of(start: Start) -> dict[str, object]:
    """Return the members that say where a log goes on."""
    edge = [node.hex() for node in start.edge]
    return {"edge": edge, "hash": start.hash.hex(), "size": start.size}


def read_start(folder: Path, first: int) -> Start | None:
    """Return where the log goes on that begins with this record; None when nothing says it."""
    try:
        start = start_of(json.loads(read_private(folder / FILE)))
    except (OSError, AuditError):
        return None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return start if start.size == first else None
