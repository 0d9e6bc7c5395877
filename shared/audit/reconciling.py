"""Holds the logs of a relay and of its clients against each other, from their files alone."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from shared.audit.notes import CLIENT_ORIGIN, RELAY_ORIGIN, origin
from shared.audit.private import AuditError, ForbiddenError
from shared.audit.segments import lines
from shared.audit.tombstones import kept
from shared.record.chain import RECORD_AT
from shared.record.differences import Reconciled
from shared.record.model import OPENED, RecordError, parse
from shared.record.reconcile import SLACK, WINDOW, reconcile


class MixedLogsError(AuditError):
    """These are not the logs of one relay and of its clients."""


def relay_at(origins: Sequence[str]) -> int:
    """Return which of these logs is the relay's; raises MixedLogsError.

    A log whose origin says neither is taken for what its place says: the relay's is the first.
    """
    relays = [at for at, each in enumerate(origins) if each.startswith(RELAY_ORIGIN)]
    if len(relays) > 1:
        raise MixedLogsError("two of these are logs of a relay")
    if not relays and origins[0].startswith(CLIENT_ORIGIN):
        raise MixedLogsError("none of these is the log of a relay")
    return relays[0] if relays else 0


def relay_first(folders: Sequence[Path]) -> list[Path]:
    """Return the folder of the relay's log, then those of the clients'; raises AuditError."""
    if len({each.resolve() for each in folders}) != len(folders):
        raise MixedLogsError("one log is named twice")
    at = relay_at([_origin(each) for each in folders])
    return [folders[at], *folders[:at], *folders[at + 1 :]]


def _origin(folder: Path) -> str:
    """Return whose log it says it is: by its checkpoints, else by its first record."""
    if found := origin(folder):
        return found
    first = next(records(folder), {})
    named = first.get("origin") if first.get("kind") == OPENED else None
    return named if isinstance(named, str) else ""


def reconcile_folders(
    relay: Path, clients: Sequence[Path], *, slack: float = SLACK, window: float = WINDOW
) -> Reconciled:
    """Return what the logs in these folders say differently; raises AuditError.

    `slack` and `window`: seconds, see `reconcile`. Each client's log is named by its folder. In
    another order the relay's log is found by its origin.
    """
    relay, *clients = relay_first([relay, *clients])
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
