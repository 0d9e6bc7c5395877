"""The log as a report sees it: verified from its files, and the newest records in short."""

import json
from pathlib import Path

from shared.audit.log import AuditLog
from tests.helpers.log_lines import ORIGIN, intent, written
from tunnel_relay.report.log import brief, look, newest


def test_a_record_is_shown_without_what_was_said_in_it() -> None:
    record = {
        "seq": 4,
        "time": 1,
        "kind": "call.intent",
        "who": {"user": "uma", "agent": "bot", "claims": "secret claim"},
        "what": {"server": "git", "name": "log", "class": "read"},
        "why": {"decision": "allow", "rule": "r"},
        "arguments": {"token": "secret argument"},
        "body": "secret digest",
    }
    shown = brief(record)
    assert (shown["user"], shown["what"], shown["decision"]) == ("uma", "log", "allow")
    assert "secret" not in json.dumps(shown)
    ended = brief({"seq": 5, "intent": 4, "result": "ok", "kind": "call.completion"})
    assert (ended["what"], ended["outcome"]) == ("ends record 4", "ok")
    asked = brief({"seq": 6, "kind": "admin.asked", "by": "ada", "command": "lock_add"})
    assert (asked["user"], asked["what"]) == ("ada", "lock_add")
    assert brief({"who": "nobody", "what": 3})["user"] is None


async def test_a_call_that_is_over_is_one_line_that_says_whose_it_was(tmp_path: Path) -> None:
    log = await written(tmp_path / "log", calls=6)
    again = AuditLog(log.folder, ORIGIN)
    again.take(intent(again.size, 99))
    again.flush()
    shown = newest(log.folder, 5)
    again.close()
    assert [each["seq"] for each in shown] == [15, 14, 13, 12, 10]
    assert [each["kind"] for each in shown[:2]] == ["call.intent", "audit.opened"]
    ended = shown[-1]
    assert (ended["kind"], ended["outcome"]) == ("call.completion", "ok")
    assert (ended["user"], ended["agent"], ended["server"]) == ("ada", "helper", "crm")
    assert (ended["what"], ended["class"], ended["decision"]) == ("look_up", "read", "allow")


def test_a_log_that_is_not_there_is_a_fact_and_no_error(tmp_path: Path) -> None:
    found = look(tmp_path / "none", 5)
    assert found["looked"] is False
    assert "cannot be read" in found["problem"]
