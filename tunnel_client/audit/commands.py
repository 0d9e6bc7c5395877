"""Writes down what a command is about to do, before it does it.

One process writes a log. When the daemon runs, it does; else the command takes the log itself.
What cannot be written down is not done.
"""

import os
import pwd
from typing import Any

from shared.keys import decode_public, key_fingerprint
from tunnel_client.audit.keep import open_log
from tunnel_client.control import ask_record
from tunnel_client.errors import AuditFolderError, AuditUnwritableError, NotRunningError
from tunnel_client.settings import ClientSettings


def record(settings: ClientSettings, kind: str, **facts: Any) -> None:
    """Have it written down, durably; raises AuditUnwritableError and AuditFolderError."""
    if not settings.audit.on:
        return
    said = {**facts, "by": operator()}
    try:
        problem = ask_record(settings.state_dir, kind, said)
    except NotRunningError:
        problem = _write(settings, kind, said)
    if problem is not None:
        raise AuditUnwritableError(f"this cannot be written down: {problem}")


def record_enrolment(settings: ClientSettings) -> None:
    """Write down which relay this client trusts from now on; raises as `record`."""
    key = key_fingerprint(decode_public(settings.relay.public_key))
    facts = {
        "relay": ", ".join(settings.relay.url),
        "relay_key": key,
        "tunnel": settings.relay.tunnel,
    }
    record(settings, "client.enrolled", **facts)


def _write(settings: ClientSettings, kind: str, facts: dict[str, Any]) -> str | None:
    from shared.link import loop
    from tunnel_client.identity import INSTANCE_FILE

    path = settings.state_dir / INSTANCE_FILE
    instance = path.read_text().strip() if path.exists() else ""

    async def write() -> str | None:
        try:
            audit = open_log(settings.audit_folder, settings, instance)
        except AuditFolderError as error:
            return error.cause
        audit.add(kind, facts)
        return audit.close()

    return loop.run(write())


def operator() -> str:
    """Return the name on this machine of who runs the command."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid {os.geteuid()}"
