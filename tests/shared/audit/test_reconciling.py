"""Two folders with logs, held against each other."""

import shutil
from pathlib import Path

import pytest

from shared.audit.log import AuditLog
from shared.audit.notes import CHECKPOINTS
from shared.audit.private import AuditError
from shared.audit.reconciling import MixedLogsError, reconcile_folders, records, relay_at

CALL = "0123456789abcdef.1"
WHO = {"user": "ann", "agent": "bot", "session": "s1"}


RELAY, CLIENT = "mcp-tunnel/relay/r.example", "mcp-tunnel/client/home/1f"


async def written(folder: Path, *calls: str, origin: str = "test/log") -> Path:
    audit = AuditLog(folder, origin, segment_bytes=1 << 20)
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
    with pytest.raises(MixedLogsError, match="twice"):
        reconcile_folders(relay, [tmp_path / "empty" / ".." / "relay"])


@pytest.mark.parametrize(
    ("origins", "at"),
    [
        ((RELAY, CLIENT), 0),
        ((CLIENT, RELAY), 1),
        ((CLIENT, CLIENT, RELAY), 2),
        (("", CLIENT), 0),
        ((RELAY, ""), 0),
        (("", RELAY), 1),
        (("", "test/log"), 0),
    ],
)
def test_the_relays_log_is_told_by_its_origin_and_by_its_place_when_it_has_none(
    origins: tuple[str, ...], at: int
) -> None:
    assert relay_at(origins) == at


@pytest.mark.parametrize(
    ("origins", "why"),
    [
        ((RELAY, RELAY), "two of these are logs of a relay"),
        ((CLIENT, RELAY, RELAY), "two of these are logs of a relay"),
        ((CLIENT, CLIENT), "none of these is the log of a relay"),
        ((CLIENT, ""), "none of these is the log of a relay"),
    ],
)
def test_logs_that_are_not_one_relays_and_its_clients_are_refused(
    origins: tuple[str, ...], why: str
) -> None:
    with pytest.raises(MixedLogsError, match=why):
        relay_at(origins)


async def test_logs_in_another_order_are_put_right_and_copies_of_one_are_refused(
    tmp_path: Path,
) -> None:
    relay = await written(tmp_path / "relay", CALL, origin=RELAY)
    client = await written(tmp_path / "client", CALL, origin=CLIENT)
    for folders in ((relay, client), (client, relay)):
        report = reconcile_folders(folders[0], folders[1:], slack=0)
        assert (report.ok, report.matched, report.clients) == (True, 1, {str(client): 1})
    shutil.copytree(relay, tmp_path / "copy")
    with pytest.raises(MixedLogsError, match="two of these"):
        reconcile_folders(relay, [tmp_path / "copy"])
    # A log that was killed before its first checkpoint says whose it is in its first record.
    (client / CHECKPOINTS).unlink()
    assert reconcile_folders(client, [relay]).clients == {str(client): 1}
