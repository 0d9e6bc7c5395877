"""Two folders with logs, held against each other."""

from pathlib import Path

import pytest

from shared.audit.log import AuditLog
from shared.audit.private import AuditError
from shared.audit.reconciling import reconcile_folders, records

CALL = "0123456789abcdef.1"
WHO = {"user": "ann", "agent": "bot", "session": "s1"}


async def written(folder: Path, *calls: str) -> Path:
    audit = AuditLog(folder, "test/log", segment_bytes=1 << 20)
    for call in calls:
        facts = {"call": call, "body": "b" * 64, "who": WHO, "what": {"server": "files"}}
        intent = audit.add("call.intent", facts)
        ended = {"call": call, "intent": intent, "result": "ok", "delivery": "done"}
        audit.add("call.completion", ended)
    assert audit.close() is None
    return folder


async def test_folders_are_read_as_they_lie(tmp_path: Path) -> None:
    relay = await written(tmp_path / "relay", CALL)
    client = await written(tmp_path / "client", CALL)
    report = reconcile_folders(relay, [client], slack=0)
    assert (report.ok, report.matched, report.clients) == (True, 1, {str(client): 1})
    kinds = [each["kind"] for each in records(relay)]
    assert kinds == ["audit.opened", "call.intent", "call.completion", "audit.closed"]


async def test_a_folder_without_a_log_and_one_named_twice_are_refused(tmp_path: Path) -> None:
    relay = await written(tmp_path / "relay", CALL)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AuditError, match="no log in"):
        reconcile_folders(relay, [tmp_path / "empty"])
    with pytest.raises(AuditError, match="twice"):
        reconcile_folders(relay, [relay, relay])
