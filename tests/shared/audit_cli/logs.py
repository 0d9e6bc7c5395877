"""A log with calls of two sessions in it, and the commands over it."""

import json
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner, Result

from shared.audit.log import AuditLog
from shared.audit_cli.group import audit_group
from shared.audit_cli.program import Program
from shared.record import encode

WHO = {"agent": "bot", "claimed": None, "session": "a1" * 16, "user": "ada"}
WHAT = {"class": "write", "method": "tools/call", "name": "send", "server": "mail"}
WHY = {"decision": "allow", "rule": "all"}
LINK = "0123456789abcdef"


def commands() -> click.Group:
    def folder(_config: Path | None) -> Path:
        raise click.ClickException("no configuration here")

    config = click.option("--config", type=click.Path(path_type=Path))
    refusals = click.ClickException, _no_checkpoint, click.ClickException
    return audit_group(Program("tunnel-test", config, folder, *refusals))


def _no_checkpoint(text: str) -> Exception:
    return click.ClickException(f"no checkpoint: {text}")


def run(*words: object) -> Result:
    return CliRunner().invoke(commands(), [str(word) for word in words])


def answered(*words: object) -> dict[str, Any]:
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["schema_version"] == 1
    return found


async def a_log(folder: Path, calls: int = 20) -> Path:
    """Write `session.made`, then of each call intent, completion and one that was refused."""
    audit = AuditLog(folder, "test/log", segment_bytes=4096)
    audit.add("session.made", {"session": WHO["session"], "user": "ada"})
    for number in range(calls):
        add_call(audit, number)
        eve = {**WHO, "user": "eve", "session": "b2" * 16}
        facts = {"call": f"{LINK}.{number}x", "what": WHAT, "who": eve, "why": WHY}
        audit.add("call.refused", facts)
        audit.flush()
    assert audit.close() is None
    return folder


async def a_long_log(folder: Path) -> Path:
    """Write a log of some minutes, by its times."""
    audit = AuditLog(folder, "test/log")
    for second in range(300):
        audit.take(encode.event("test", {}, audit.size, second * 1_000_000))
    assert audit.close() is None
    return folder


async def an_odd_log(folder: Path) -> Path:
    """Write a log that is whole, but for a call in it that ends without ever having begun."""
    audit = AuditLog(folder, "test/log")
    ended = {"intent": 1, "result": "ok", "delivery": "done"}
    audit.add("call.completion", {"call": "odd\x1b.1", **ended})
    assert audit.close() is None
    return folder


async def two_logs(relay: Path, client: Path, *, calls: int, lost: int = -1) -> None:
    """Write the logs of two ends beside each other; the relay's does not know call `lost`."""
    logs = [
        AuditLog(relay, "mcp-tunnel/relay/r.example"),
        AuditLog(client, "mcp-tunnel/client/home/1f"),
    ]
    for number in range(calls):
        for audit in logs if number != lost else logs[1:]:
            add_call(audit, number)
            audit.flush()
    for audit in logs:
        assert audit.close() is None


def add_call(audit: AuditLog, number: int) -> None:
    facts = {"call": f"{LINK}.{number}", "what": WHAT, "who": WHO, "why": WHY}
    intent = audit.add("call.intent", {**facts, "body": "b" * 64})
    ended = {"intent": intent, "result": "ok", "delivery": "done", "us": 1500, "status": 200}
    audit.add("call.completion", {"call": f"{LINK}.{number}", **ended})
