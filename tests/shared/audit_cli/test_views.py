"""What is shown is one line each, whatever somebody wrote into it."""

from shared.audit.replay import Replayed
from shared.audit_cli.views import differences, moment, row, timeline
from shared.record.reconcile import reconcile
from shared.record.timeline import steps

ODD = {
    "seq": 7,
    "time": 1_795_000_000_000_000,
    "kind": "call.intent",
    "call": "x\x1b[2J.1",
    "who": {"user": ["https://a.example", "a\nb"], "agent": "\x1b[2J"},
    "what": {"server": "mail", "name": "x\u202e\u2028"},
    "why": {"decision": "deny", "rule": "r\r"},
    "approval": {"id": "a\u2066", "approvers": ["\x9b"]},
    "reason": "a|b=c\\",
    "result": "\u200b",
    "note": {"\x07": "\x1b]0;title\x07"},
}


def test_a_row_is_one_line_whatever_is_in_it() -> None:
    """A01, A02: nothing moves the cursor, and one record stays one line."""
    shown = row(ODD)
    assert shown.isprintable()
    assert "call.intent" in shown
    assert "https://a.example a" in shown


def test_a_timeline_and_a_table_are_lines_whatever_is_in_them() -> None:
    """A02."""
    found = Replayed("s\x1b[31m", steps([ODD, {**ODD, "kind": "odd\u2067"}])[0], None)
    table = differences(reconcile([ODD], {"c\x1b[0m": [{**ODD, "kind": "call.refused"}]}))
    for text, count in ((timeline(found), 4), (table, 2)):
        lines = text.split("\n")
        assert len(lines) >= count
        assert all(line.isprintable() for line in lines)


def test_a_time_that_is_none_is_a_number() -> None:
    assert moment(1_795_000_000_123_456) == "2026-11-18T11:06:40.123456Z"
    assert moment(10**30) == str(10**30)
