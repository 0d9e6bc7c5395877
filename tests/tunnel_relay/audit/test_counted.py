"""What strangers repeat is one record that says how often, and nothing is dropped."""

from pathlib import Path

from shared.audit.log import AuditLog
from tests.helpers.audit_log import records
from tunnel_relay.audit.counted import MAX_COUNTED, Counted


async def test_equal_things_are_one_record_that_says_how_often_and_since_when(
    tmp_path: Path,
) -> None:
    log = AuditLog(tmp_path / "log", "test")
    counted = Counted(log)
    for _ in range(5):
        counted.count("login.failed", {"source": "192.0.2.1"})
    counted.count("login.failed", {"source": "192.0.2.2"})
    counted.flush()
    counted.flush()
    log.close()
    found = records(tmp_path / "log", "login.failed")
    assert [(each["source"], each["count"]) for each in found] == [
        ("192.0.2.1", 5),
        ("192.0.2.2", 1),
    ]
    assert all(0 < each["began"] <= each["ended"] for each in found)


async def test_the_table_is_bounded_and_what_finds_no_room_is_counted_all_the_same(
    tmp_path: Path,
) -> None:
    log = AuditLog(tmp_path / "log", "test")
    counted = Counted(log)
    for number in range(MAX_COUNTED + 40):
        counted.count("login.failed", {"source": str(number)})
    counted.flush()
    log.close()
    found = records(tmp_path / "log", "login.failed")
    assert len(found) == MAX_COUNTED + 1
    assert sum(each["count"] for each in found) == MAX_COUNTED + 40
    assert found[-1]["reason"].startswith("others")
