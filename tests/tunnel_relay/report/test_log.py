"""The log as a report sees it: verified from its files, and the newest records in short."""

import json
from pathlib import Path
from typing import Any

import pytest

from shared.audit.keys import PUBLIC_FILE
from shared.audit.log import AuditLog
from shared.audit.notes import CHECKPOINTS
from shared.audit.private import AuditError
from shared.audit.segments import compress, segments
from shared.record.crosscheck import Finding
from shared.record.verify import Report
from tests.helpers.log_lines import ORIGIN, intent, written
from tests.tunnel_relay.report import a_report
from tunnel_relay.report import log as module
from tunnel_relay.report.document import document
from tunnel_relay.report.log import brief, look, newest, not_looked_at


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


def findings(log: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what a report without another fault says of a log."""
    found = document(a_report.clean_facts(), [a_report.clean_part()], log)["findings"]
    return [(each["id"], each["severity"]) for each in found]


async def closed(folder: Path) -> Path:
    """Write a log of closed segments, two at least."""
    log = await written(folder, calls=60, segment_bytes=10_000)
    for each in segments(log.folder):
        if not each.compressed:
            compress(each.path)
    assert len(segments(log.folder)) > 1
    return log.folder


async def test_a_segment_that_is_cut_breaks_the_log_and_the_rest_is_shown(tmp_path: Path) -> None:
    folder = await closed(tmp_path / "log")
    assert findings(look(folder, 25)) == []
    last = segments(folder)[-1]
    whole = last.path.read_bytes()
    last.path.write_bytes(whole[: len(whole) // 2])
    found = look(folder, 25)
    assert (found["looked"], found["ok"]) == (True, False)
    assert found["first_bad"] >= last.first
    assert len(found["sample"]) == 25
    assert findings(found) == [("log-broken", "high")]


async def test_what_is_shown_decides_nothing_of_what_was_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment may be removed while it is read, and the end of the checkpoints gone."""
    folder = await closed(tmp_path / "log")

    def gone(*_: object) -> None:
        raise AuditError("cannot read it")

    for name in ("newest", "last_note"):
        monkeypatch.setattr(module, name, gone)
    found = look(folder, 25)
    assert (found["looked"], found["ok"], found["sample"], found["checkpoint"]) == (
        *(True, True, []),
        None,
    )


@pytest.mark.parametrize("lost", ["key", "all", "folder"])
async def test_a_log_here_that_cannot_be_read_is_broken_and_not_just_unseen(
    tmp_path: Path, lost: str
) -> None:
    folder = await closed(tmp_path / "log")
    if lost == "key":
        (folder / PUBLIC_FILE).unlink()
    elif lost == "all":
        for path in (*folder.glob("*.jsonl.gz"), folder / CHECKPOINTS):
            path.unlink()
    else:
        folder.rename(tmp_path / "elsewhere")
    assert findings(look(folder, 25)) == [("log-broken", "high")]
    assert findings(not_looked_at("made from afar")) == [("log-unseen", "low")]


async def test_what_is_grave_is_among_the_odd_that_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = await closed(tmp_path / "log")
    odd = [Finding("odd", seq, "c", seq == 40) for seq in range(50)]
    report = Report(records=120, findings=odd, checkpoints=1)
    monkeypatch.setattr(module, "verify_folder", lambda *_: report)
    assert findings(look(folder, 25)) == [("log-broken", "high")]
