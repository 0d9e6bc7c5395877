"""Keeps the log of a running client: opened as the settings say, and closed with what ended.

A change of the settings is the last record under the old ones (attack A15). What a killed client
left open ends as `unknown` before anything new begins (A09).
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from shared.audit import events, keeping
from shared.audit.export.exporter import Codes
from shared.audit.export.exports import Exports, Program, make_exports
from shared.audit.keeping import UntoldError, opened
from shared.audit.keys import TAGS_FILE, read_redactor
from shared.audit.log import AuditLog, Tell
from shared.audit.private import AuditError
from shared.configfile import SecretError, SecretRef
from shared.version import VERSION
from tunnel_client.audit.calls import Calls
from tunnel_client.audit.spelling import Spelling
from tunnel_client.credentials.sources import read_reference
from tunnel_client.errors import (
    AuditFolderError,
    AuditUnwritableError,
    ClientError,
    ExportFailingError,
    ExportGapError,
)
from tunnel_client.identity import Identity
from tunnel_client.judge import Judge
from tunnel_client.settings import ClientSettings

OF_COMMANDS = frozenset(
    {
        *("tool.pinned", "tool.classified", "consent.approved", "upstream.added"),
        *("upstream.removed", "policy.written", "client.enrolled"),
    }
)
"""What commands may have written down: nobody has the daemon write what it has not seen itself."""


class Kept:
    """The log while the client runs; without one, `calls` write nothing down."""

    def __init__(
        self, audit: AuditLog | None, calls: Calls, exports: Exports | None = None
    ) -> None:
        self._audit = audit
        self.calls = calls
        self._exports = exports or Exports()

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
            "exports": self._exports.status(),
        }


@contextmanager
def kept(settings: ClientSettings, identity: Identity, judge: Judge) -> Iterator[Kept]:
    """Keep the log in the block; runs on the event loop. Raises AuditFolderError and others."""
    audit = _opened(settings, identity)
    calls = Calls()
    if audit is not None:
        try:
            redactor = read_redactor(settings.state_dir / TAGS_FILE, settings.audit.clear)
        except AuditError as error:
            audit.close()
            raise AuditFolderError(str(error)) from None
        spelling = Spelling(redactor, judge)
        calls = Calls(audit, spelling, reads_without=settings.audit.reads_without)
    exports = Exports()
    try:
        if audit is not None:
            exports = _exports(settings, audit)
        exports.start()
        held = Kept(audit, calls, exports)
        with events.heard(held.note):
            yield held
    finally:
        if audit is not None:
            audit.close()
        exports.stop()  # after the last record


def _exports(settings: ClientSettings, audit: AuditLog) -> Exports:
    program = Program("tunnel-client", Codes(ExportFailingError.code, ExportGapError.code))
    try:
        return make_exports(settings.audit.export, audit, audit.origin, program, _secret)
    except AuditError as error:
        raise AuditFolderError(str(error), "tunnel-client check-config") from None


def _secret(reference: SecretRef) -> SecretStr:
    try:
        return read_reference(reference, os.environ)
    except ClientError as error:
        raise SecretError(str(error)) from None


def _opened(settings: ClientSettings, identity: Identity) -> AuditLog | None:
    origin = _origin(settings, identity.instance)
    try:
        audit, now = opened(settings.audit, settings.audit_folder, settings.state_dir, origin)
    except UntoldError as error:
        raise AuditUnwritableError(
            str(error), "make room there, or put the settings back"
        ) from None
    except AuditError as error:
        raise AuditFolderError(str(error)) from None
    if audit is not None:
        facts = {"instance": identity.instance, "settings": now, "version": VERSION}
        audit.add("client.started", facts)
    return audit


def open_log(folder: Path, settings: ClientSettings, instance: str) -> AuditLog:
    """Open a log and end what its last writer left open; raises AuditFolderError."""
    try:
        return keeping.open_log(folder, _origin(settings, instance), settings.audit)
    except AuditError as error:
        raise AuditFolderError(str(error)) from None


def _origin(settings: ClientSettings, instance: str) -> str:
    return f"mcp-tunnel/client/{settings.relay.tunnel}/{instance}"
