"""Records are found by who, what, why and when, and shown on one line each."""

from pathlib import Path

import pytest

from shared.audit.log import AuditLog
from shared.audit.private import AuditError
from shared.audit.reading import Wanted, newest, read, row

WHO = {"agent": "bot", "claimed": None, "session": "0123456789abcdef" * 2, "user": "ada"}
WHAT = {"class": "write", "method": "tools/call", "name": "send", "server": "mail"}
WHY = {"decision": "allow", "rule": "all"}


async def a_log(folder: Path) -> Path:
    audit = AuditLog(folder, "test", segment_bytes=2048)
    for number in range(40):
        facts = {"call": f"{number}", "what": WHAT, "who": WHO, "why": WHY}
        audit.add("call.intent", facts)
        audit.add("call.refused", {**facts, "who": {**WHO, "user": "eve"}})
        audit.add("tool.pinned", {"tool": "send", "upstream": "mail"})
        audit.flush()
    audit.close()
    return folder


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (Wanted(), 122),
        (Wanted(user="ada"), 40),
        (Wanted(user="eve", kind="call."), 40),
        (Wanted(kind="call.intent", user="eve"), 0),
        (Wanted(session="01234567"), 80),
        (Wanted(tool="send"), 120),
        (Wanted(tool="send", tool_class="write", decision="allow", agent="bot"), 80),
        (Wanted(server="mail", kind="tool."), 40),
        (Wanted(call="7"), 2),
        (Wanted(after=99), 22),
        (Wanted(since=0, until=1), 0),
    ],
)
async def test_what_fits_is_found(tmp_path: Path, wanted: Wanted, count: int) -> None:
    folder = await a_log(tmp_path / "log")
    found = list(read(folder, wanted))
    assert len(found) == count
    assert newest(folder, wanted, 3) == found[-3:]


async def test_a_page_goes_on_where_the_one_before_ended(tmp_path: Path) -> None:
    folder = await a_log(tmp_path / "log")
    first = newest(folder, Wanted(), 200)[:50]
    rest = list(read(folder, Wanted(after=first[-1]["seq"])))
    assert [each["seq"] for each in [*first, *rest]] == list(range(122))


def test_a_row_is_one_line_whatever_is_in_it() -> None:
    """A01, A02: nothing moves the cursor, and one record stays one line."""
    shown = row(
        {
            "seq": 7,
            "time": 1_795_000_000_000_000,
            "kind": "call.intent",
            "who": {"user": "a\nb", "agent": "\x1b[2J"},
            "what": {"server": "mail", "name": "x\u202e\u2028"},
            "why": {"decision": "deny", "rule": "r\r"},
            "reason": "a|b=c\\",
        }
    )
    assert shown.isprintable()
    assert "call.intent" in shown


def test_no_log_is_said(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="no log"):
        list(read(tmp_path, Wanted()))
