"""Keeps the relay's log: opened with its state, and told what is asked of it before it is done."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog
from pydantic import SecretStr

from shared.audit import events
from shared.audit.export.exporter import Codes
from shared.audit.export.exports import Exports, Program, make_exports
from shared.audit.keeping import opened
from shared.audit.log import AuditLog
from shared.audit.private import AuditError
from shared.configfile import SecretError, SecretRef
from shared.record.model import VIEWED
from shared.version import VERSION
from tunnel_relay.audit.counted import Counted
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.keyfiles import read_secret
from tunnel_relay.settings import Settings

log = structlog.get_logger("tunnel_relay.audit")

DISK_SECONDS = 10.0
"""For the disk to take a record; one that hangs must not hang a command for ever."""
SETTLE_SECONDS = 2.0
"""The same where something is taken away already, and only waits to be stored."""
TAKES = frozenset(
    {
        *("session_revoke", "lock_add", "user_disable", "agent_disable", "tunnel_disable"),
        *("tunnel_delete", "user_token_revoke", "approval_deny", "passkey_remove"),
    }
)
"""What takes away is done at once, whatever becomes of the log."""
SHOWN = frozenset(
    {
        *("agent", "approval", "groups", "kind", "lock", "name", "owner", "passkey", "reason"),
        "roles",
        *("server", "servers", "session", "subject", "token", "ttl", "tunnel", "user"),
    }
)
"""Arguments of commands that are written down as they are; of others only how many there were."""
MAX_SHOWN = 256
"""Characters of one of them."""
COUNTED = frozenset(
    {
        *("call.unauthenticated", "enrolment.refused", "link.failed"),
        *("login.failed", "login.throttled"),
    }
)
"""What anybody can cause, without being known here: counted together."""


class Records:
    """The log as commands see it; without one nothing is written down."""

    def __init__(self, audit: AuditLog | None = None, exports: Exports | None = None) -> None:
        self.log = audit
        self.counted = None if audit is None else Counted(audit)
        self._exports = exports or Exports()

    def status(self) -> dict[str, Any]:
        """Return what `status` says of the log."""
        if self.log is None:
            return {"on": False}
        return {
            "on": True,
            "folder": str(self.log.folder),
            "records": self.log.size,
            "failing": self.log.failing,
            "exports": self._exports.status(),
        }

    def note(self, kind: str, facts: Mapping[str, Any]) -> None:
        """Write down what somebody noted."""
        if self.log is None or self.counted is None:
            return
        if kind in COUNTED:
            self.counted.count(kind, facts)
        else:
            self.log.add(kind, facts)

    def close(self) -> None:
        """Write down what is left, and close the log."""
        if self.log is not None and self.counted is not None:
            self.counted.flush()
            self.log.close()

    async def asked(self, command: str, arguments: Mapping[str, Any], by: str) -> None:
        """Write down that a command is about to be carried out; raises RelayError AUDIT_FAILING."""
        if self.log is None:
            return
        given = {name: value for name, value in arguments.items() if value is not None}
        shown = {name: str(given[name])[:MAX_SHOWN] for name in given if name in SHOWN}
        facts = {"arguments": shown, "by": by, "command": command}
        seq = self.log.add("admin.asked", {**facts, "hidden": len(given) - len(shown)})
        if command in TAKES:
            return  # it holds in memory first: `settled` waits for the disk, before the store
        problem = await _durable(self.log, seq, DISK_SECONDS)
        if problem is not None:
            raise RelayError(Code.AUDIT_FAILING, problem)

    async def settled(self) -> None:
        """Wait until what was written down is on the disk, if the disk takes it; never fails."""
        if self.log is not None and self.log.size:
            problem = await _durable(self.log, self.log.size - 1, SETTLE_SECONDS)
            if problem is not None:
                log.error("audit_failing", code=Code.AUDIT_FAILING, reason=problem)

    async def viewed(self, facts: Mapping[str, Any]) -> None:
        """Write down who looks at what, before they see it; raises RelayError AUDIT_FAILING."""
        await self.first(VIEWED, facts)

    async def first(self, kind: str, facts: Mapping[str, Any]) -> None:
        """Write down what is about to hold; raises RelayError AUDIT_FAILING, then it must not."""
        if self.log is not None:
            problem = await _durable(self.log, self.log.add(kind, facts), DISK_SECONDS)
            if problem is not None:
                raise RelayError(Code.AUDIT_FAILING, problem)

    def done(self, command: str, by: str, outcome: str) -> None:
        """Write down what became of it."""
        if self.log is not None:
            self.log.add("admin.done", {"by": by, "command": command, "outcome": outcome})


@contextmanager
def kept(settings: Settings, *, serving: bool) -> Iterator[Records]:
    """Keep the log in the block; runs on the event loop. Raises RelayError AUDIT_UNUSABLE."""
    origin = f"mcp-tunnel/relay/{settings.public_url[0]}"
    try:
        audit, now = opened(settings.audit, settings.audit_folder, settings.state_dir, origin)
    except AuditError as error:
        raise RelayError(Code.AUDIT_UNUSABLE, str(error)) from None
    if audit is not None and serving:
        audit.add("relay.started", {"settings": now, "version": VERSION})
    exports = Exports()
    try:
        if audit is not None and serving:
            exports = _exports(settings, audit)
        exports.start()
        records = Records(audit, exports)
        try:
            with events.heard(records.note):
                yield records
        finally:
            records.close()
    finally:
        if audit is not None:
            audit.close()  # nothing when it is closed already
        exports.stop()  # after the last record


def _exports(settings: Settings, audit: AuditLog) -> Exports:
    program = Program("tunnel-relay", Codes(Code.EXPORT_FAILING, Code.EXPORT_GAP))
    try:
        return make_exports(settings.audit.export, audit, audit.origin, program, _secret)
    except AuditError as error:
        raise RelayError(Code.AUDIT_UNUSABLE, str(error)) from None


def _secret(reference: SecretRef) -> SecretStr:
    try:
        return read_secret(reference, os.environ)
    except RelayError as error:
        raise SecretError(error.message) from None


async def _durable(log: AuditLog, seq: int, seconds: float) -> str | None:
    """Return None once a record is on the disk, else why it is not known to be."""
    told: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
    log.durable(seq, lambda why: None if told.done() else told.set_result(why))
    try:
        return await asyncio.wait_for(told, seconds)
    except TimeoutError:
        return "the disk does not answer"
