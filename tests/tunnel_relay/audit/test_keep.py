"""What commands change is written down first, with who asked and why; secrets are not."""

from pathlib import Path

import pytest

from shared.audit.log import AuditLog
from tests.helpers.audit_log import holding, records
from tunnel_relay.admin.commands import COMMANDS, READS
from tunnel_relay.audit.keep import SHOWN, TAKES, Records
from tunnel_relay.errors import RelayError


async def test_a_command_stands_in_the_log_before_it_is_done(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "log", "test")
    kept = Records(log)
    said = {"user": "ann", "reason": "left", "password": "canary-55aa"}
    await kept.asked("user_password", said, "root")
    (asked,) = records(tmp_path / "log", "admin.asked")
    assert (asked["by"], asked["command"]) == ("root", "user_password")
    assert asked["arguments"] == {"user": "ann", "reason": "left"}
    assert asked["hidden"] == 1
    kept.done("user_password", "root", "ok")
    log.close()
    assert [each["outcome"] for each in records(tmp_path / "log", "admin.done")] == ["ok"]
    assert holding(tmp_path / "log", "canary-55aa") == []


async def test_what_cannot_be_written_down_is_not_done_but_what_takes_away_is(
    tmp_path: Path,
) -> None:
    """A08."""
    log = AuditLog(tmp_path / "log", "test")
    log.failing = "No space left on device"
    kept = Records(log)
    with pytest.raises(RelayError, match="No space"):
        await kept.asked("user_enable", {"user": "ann"}, "root")
    await kept.asked("session_revoke", {"session": "abc"}, "root")
    log.failing = None
    log.close()


def test_every_command_is_known_here() -> None:
    assert set(COMMANDS) > READS
    assert set(COMMANDS) - READS >= TAKES
    assert not SHOWN & {"password", "key", "signature", "secret"}
