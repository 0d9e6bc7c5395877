"""Which settings of the log were in force last, so that a change of them is itself written down.

Whoever turns the log off, moves it or has it say less leaves a record of that as the last one under
the old settings (attack A15). What was in force stands in `audit.json` in the state folder; when
that is gone, a log that is there was on.
"""

import json
from pathlib import Path
from typing import Any

from shared.audit.private import AuditError, read_private, write_private
from shared.audit.settings import AuditSettings

FILE = "audit.json"

Standing = dict[str, Any]


def standing(audit: AuditSettings, folder: Path, state_dir: Path) -> Standing:
    """Return what of the settings says where the log is and how much it says."""
    # Below the state folder it is named from there: that may be moved, or copied.
    below = folder.is_relative_to(state_dir)
    return {
        "on": audit.on,
        "folder": str(folder.relative_to(state_dir) if below else folder),
        "reads_without": audit.reads_without,
        "clear": {key: sorted(names) for key, names in sorted(audit.clear.items())},
        "keep_days": audit.keep_days,
        "export": sorted(f"{each.name}: {each.spelling} to {each.to}" for each in audit.export),
    }


def read_standing(state_dir: Path) -> Standing | None:
    """Return what was in force last, None when nothing was; raises AuditError."""
    path = state_dir / FILE
    try:
        found = json.loads(read_private(path))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise AuditError(f"cannot read {path}: {type(error).__name__}") from None
    whole = isinstance(found, dict) and isinstance(found.get("folder"), str)
    if not whole or not isinstance(found.get("on"), bool):
        raise AuditError(f"{path} does not say where the log was")
    return dict(found)


def keep_standing(state_dir: Path, now: Standing) -> None:
    """Keep what is in force from now on; raises AuditError."""
    write_private(state_dir / FILE, json.dumps(now, sort_keys=True).encode() + b"\n")


def differences(before: Standing, now: Standing) -> dict[str, list[Any]]:
    """Return what changed of what is known from before, by name: what it was and what it is."""
    return {
        name: [before[name], now.get(name)]
        for name in sorted(before)
        if before[name] != now.get(name)
    }
