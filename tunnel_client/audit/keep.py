"""Keeps the log of a running client: opened as the settings say, and closed with what ended.

A change of the settings is the last record under the old ones (attack A15). What a killed client
left open ends as `unknown` before anything new begins (A09).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from shared.version import VERSION
from tunnel_client.audit import events
from tunnel_client.audit.calls import Calls
from tunnel_client.audit.files import AuditError, segments
from tunnel_client.audit.log import AuditLog, Tell
from tunnel_client.audit.redact import Redactor, read_or_make_key
from tunnel_client.audit.spelling import Spelling
from tunnel_client.audit.standing import (
    Standing,
    differences,
    keep_standing,
    read_standing,
    standing,
)
from tunnel_client.errors import AuditFolderError, AuditUnwritableError
from tunnel_client.identity import Identity
from tunnel_client.judge import Judge
from tunnel_client.settings import ClientSettings
from tunnel_client.settings_audit import FOLDER

log = structlog.get_logger("tunnel_client.audit")

OF_COMMANDS = frozenset(
    {
        *("tool.pinned", "tool.classified", "consent.approved", "upstream.added"),
        *("policy.written", "client.enrolled"),
    }
)
"""What commands may have written down: nobody has the daemon write what it has not seen itself."""


class Kept:
    """The log while the client runs; without one, `calls` write nothing down."""

    def __init__(self, audit: AuditLog | None, calls: Calls) -> None:
        self._audit = audit
        self.calls = calls

    def record(self, kind: str, facts: dict[str, Any], tell: Tell) -> None:
        """Write down what a command is about to do, then tell it."""
        if kind not in OF_COMMANDS:
            tell("no command says that")
        elif self._audit is None:
            tell(None)
        else:
            self._audit.durable(self._audit.add(kind, facts), tell)

    def note(self, kind: str, facts: Mapping[str, Any]) -> None:
        """Write down what somebody noted."""
        if self._audit is not None:
            self._audit.add(kind, facts)

    def status(self) -> dict[str, Any]:
        """Return what `status` says of the log."""
        if self._audit is None:
            return {"on": False}
        return {
            "on": True,
            "folder": str(self._audit.folder),
            "records": self._audit.size,
            "failing": self._audit.failing,
            "unrecorded": self.calls.unrecorded,
        }


@contextmanager
def kept(settings: ClientSettings, identity: Identity, judge: Judge) -> Iterator[Kept]:
    """Keep the log in the block; runs on the event loop. Raises AuditFolderError and others."""
    audit = _opened(settings, identity)
    calls = Calls()
    if audit is not None:
        try:
            redactor = Redactor(read_or_make_key(settings.state_dir), settings.audit.clear)
        except AuditError as error:
            audit.close()
            raise AuditFolderError(str(error)) from None
        spelling = Spelling(redactor, judge)
        calls = Calls(audit, spelling, reads_without=settings.audit.reads_without)
    held = Kept(audit, calls)
    try:
        with events.heard(held.note):
            yield held
    finally:
        if audit is not None:
            audit.close()


def _opened(settings: ClientSettings, identity: Identity) -> AuditLog | None:
    now = standing(settings)
    kept_before = read_standing(settings.state_dir)
    before = kept_before or _guessed(settings)
    changed = differences(before, now) if before is not None else {}
    if before is not None and changed and before["on"]:
        _say_last(settings.state_dir / before["folder"], settings, identity, changed)
    audit = None
    if settings.audit.on:
        audit = open_log(settings.audit_folder, settings, identity.instance)
        facts = {"instance": identity.instance, "settings": now, "version": VERSION}
        audit.add("client.started", facts)
    else:
        log.warning("AUDITING IS OFF: nothing that agents do is written down")
    if kept_before != now:
        keep_standing(settings.state_dir, now)
    return audit


def open_log(folder: Path, settings: ClientSettings, instance: str) -> AuditLog:
    """Open a log and end what its last writer left open; raises AuditFolderError."""
    try:
        audit = AuditLog(
            folder,
            f"mcp-tunnel/client/{settings.relay.tunnel}/{instance}",
            segment_bytes=settings.audit.segment_mib * 1024 * 1024,
            segment_seconds=settings.audit.segment_hours * 3600.0,
        )
    except AuditError as error:
        raise AuditFolderError(str(error)) from None
    for call, intent in audit.open_calls.items():
        facts = {"bytes": 0, "delivery": "unknown", "result": "unknown", "scrub_hits": 0}
        more = {"call": call, "intent": intent, "status": 0, "us": 0}
        audit.add("call.completion", facts | more)
    return audit


def _guessed(settings: ClientSettings) -> Standing | None:
    """Take a log that is there for one that was on, though nothing says so any more."""
    folder = settings.state_dir / FOLDER
    if not folder.exists() or not segments(folder):
        return None
    return {"on": True, "folder": FOLDER}


def _say_last(
    folder: Path, settings: ClientSettings, identity: Identity, changed: dict[str, Any]
) -> None:
    """Write a change of the settings as the last record under the old ones."""
    log.warning("AUDIT SETTINGS CHANGED", changed=sorted(changed), folder=str(folder))
    audit = open_log(folder, settings, identity.instance)
    problem = audit.close("audit.changed", changed=changed)
    if problem is not None:
        raise AuditUnwritableError(
            f"the settings of the log changed, and {folder} cannot be told: {problem}",
            "make room there, or put the settings back",
        )
