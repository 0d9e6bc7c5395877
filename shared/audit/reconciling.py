"""Holds the logs of a relay and of its clients against each other, from their files alone."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from shared.audit.private import AuditError, ForbiddenError
from shared.audit.segments import lines
from shared.audit.tombstones import kept
from shared.record.chain import RECORD_AT
from shared.record.differences import Reconciled
from shared.record.model import RecordError, parse
from shared.record.reconcile import SLACK, WINDOW, reconcile


def reconcile_folders(
    relay: Path, clients: Sequence[Path], *, slack: float = SLACK, window: float = WINDOW
) -> Reconciled:
    """Return what the logs in these folders say differently; raises AuditError.

    `slack` and `window`: seconds, see `reconcile`. Each client's log is named by its folder.
    """
    if len(set(clients)) != len(clients):
        raise AuditError("one log is named twice")
    named = {str(each): records(each) for each in clients}
    return reconcile(records(relay), named, slack=slack, window=window)


def records(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a log in order; raises AuditError. What is none, `verify` names."""
    _, parts = kept(folder)
    if not parts:
        raise AuditError(f"no log in {folder}")
    for segment in parts:
        try:
            for line in lines(segment.path):
                with contextlib.suppress(RecordError):
                    yield parse(line[RECORD_AT:-2])
        except ForbiddenError:
            raise
        except AuditError:
            continue
