"""What is shown is one line each, whatever somebody wrote into it."""

from collections import Counter
from typing import Any

import pytest

from shared.audit.replay import Replayed
from shared.audit_cli.views import differences, moment, row, timeline
from shared.record.differences import Reconciled
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


@pytest.mark.parametrize(
    ("kinds", "grave", "sound", "verdict"),
    [
        ({}, 0, True, "ok: every call is accounted for"),
        ({"never arrived": 2}, 0, True, "ok: every call is accounted for"),
        (
            {"not covered": 3, "in a gap": 2},
            0,
            True,
            "7 calls agree; 5 could not be compared: 3 not covered, 2 in a gap",
        ),
        ({"unknown link": 4}, 4, True, "NOT ACCOUNTED FOR: 4"),
        (
            {"unknown link": 4, "not covered": 1},
            4,
            False,
            "NOT ACCOUNTED FOR: 4; 1 could not be compared: 1 not covered",
        ),
        ({}, 0, False, "NOT PROVEN: a log by itself is not, see above"),
    ],
)
def test_the_last_line_says_no_more_than_was_compared(
    kinds: dict[str, int], grave: int, sound: bool, verdict: str
) -> None:
    found = Reconciled(relay=7, matched=7, grave=grave, kinds=Counter(kinds))
    assert differences(found, sound=sound).split("\n")[-1] == verdict


def test_a_replay_says_which_approval_and_who_refused() -> None:
    what, why = {"server": "crm", "name": "send", "class": "write"}, {"decision": "allow"}
    approval = {"id": "a1", "approvers": []}
    call = {"kind": "call.intent", "call": "f.1", "what": what, "why": why}
    told: list[dict[str, Any]] = [
        call,
        {"kind": "call.completion", "call": "f.1", "result": "denied"},
        {"kind": "approval.asked", "approval": approval, "what": what, "expires": 1_795_000_000},
        {"kind": "approval.granted", "approval": {**approval, "approvers": ["pia"]}, "what": what},
        {"kind": "session.revoked", "what": {"server": "crm"}, "reason": "lost laptop"},
    ]
    found = [{"seq": seq, "time": 1_795_000_000_000_000, **each} for seq, each in enumerate(told)]
    lines = timeline(Replayed("s", steps(found)[0], None)).splitlines()[2:]
    shown = [" ".join(line.split()[2:]) for line in lines]
    assert shown == [
        "crm/send write allow -> denied by the private side",
        "approval.asked send approval a1 expires=2026-11-18T11:06:40.000000Z",
        "approval.granted send approval a1 by pia",
        "session.revoked reason: lost laptop",
    ]
    assert row(found[4]).endswith("session.revoked  crm  reason=lost laptop")
    assert "(-)" not in row(found[0])


def test_a_time_that_is_none_is_a_number() -> None:
    assert moment(1_795_000_000_123_456) == "2026-11-18T11:06:40.123456Z"
    assert moment(10**30) == str(10**30)
