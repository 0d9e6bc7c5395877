"""Opens a log as the settings say, and says in the old one what of them changed.

A change of the settings is the last record under the old ones (attack A15). What a killed writer
left open ends as `unknown` before anything new begins (A09).
"""

from pathlib import Path
from typing import Any

import structlog

from shared.audit.log import AuditLog
from shared.audit.private import AuditError
from shared.audit.segments import segments
from shared.audit.settings import FOLDER, AuditSettings
from shared.audit.standing import (
    Standing,
    differences,
    keep_standing,
    read_standing,
    standing,
)

log = structlog.get_logger("shared.audit")


class UntoldError(AuditError):
    """The settings changed, and the log that was written before cannot be told."""


def opened(
    audit: AuditSettings, folder: Path, state_dir: Path, origin: str
) -> tuple[AuditLog | None, Standing]:
    """Open the log, None when it is off; returns what is in force too. Raises AuditError."""
    now = standing(audit, folder, state_dir)
    kept_before = read_standing(state_dir)
    before = kept_before or _guessed(state_dir)
    changed = differences(before, now) if before is not None else {}
    if before is not None and changed and before["on"]:
        _say_last(state_dir / before["folder"], origin, audit, changed)
    found = None
    if audit.on:
        found = open_log(folder, origin, audit)
    else:
        log.warning("AUDITING IS OFF: nothing that agents do is written down")
    if kept_before != now:
        try:
            keep_standing(state_dir, now)
        except BaseException:
            if found is not None:
                found.close()
            raise
    return found, now


def open_log(folder: Path, origin: str, audit: AuditSettings) -> AuditLog:
    """Open a log and end what its last writer left open; raises AuditError."""
    return AuditLog(
        folder,
        origin,
        segment_bytes=audit.segment_mib * 1024 * 1024,
        segment_seconds=audit.segment_hours * 3600.0,
    )


def _guessed(state_dir: Path) -> Standing | None:
    """Take a log that is there for one that was on, though nothing says so any more."""
    folder = state_dir / FOLDER
    if not folder.exists() or not segments(folder):
        return None
    return {"on": True, "folder": FOLDER}


def _say_last(folder: Path, origin: str, audit: AuditSettings, changed: dict[str, Any]) -> None:
    """Write a change of the settings as the last record under the old ones."""
    log.warning("AUDIT SETTINGS CHANGED", changed=sorted(changed), folder=str(folder))
    problem = open_log(folder, origin, audit).close("audit.changed", changed=changed)
    if problem is not None:
        raise UntoldError(
            f"the settings of the log changed, and {folder} cannot be told: {problem}"
        )
