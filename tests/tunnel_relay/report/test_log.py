"""The log as a report sees it: verified from its files, and the newest records in short."""

import json
from pathlib import Path

from tunnel_relay.report.log import brief, look


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


def test_a_log_that_is_not_there_is_a_fact_and_no_error(tmp_path: Path) -> None:
    found = look(tmp_path / "none", 5)
    assert found["looked"] is False
    assert "cannot be read" in found["problem"]
