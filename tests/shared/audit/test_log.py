"""The log on real disks: order, chain, what is owed, what a killed writer left."""

import asyncio
import json
from pathlib import Path

import anyio
import pytest

from shared.audit.files import segments
from shared.audit.log import AuditLog
from shared.audit.private import AuditError
from shared.audit.verify import verify
from tests.helpers.audit_log import records
from tests.helpers.disks import fill, small_disk
from tests.shared.audit.logs import written


def spelled(seq: int, now: int) -> bytes:
    return b'{"kind":"test","seq":%d,"time":%d,"v":1}' % (seq, now)


def write_on(audit: AuditLog) -> None:
    """Write more than the last block of a file has room for."""
    for _ in range(10_000):
        audit.write(spelled)


async def recovered(audit: AuditLog) -> None:
    with anyio.fail_after(20):
        while audit.failing is not None:  # noqa: ASYNC110 - it tries again by a timer
            await asyncio.sleep(0.01)


async def told(audit: AuditLog, seq: int) -> str | None:
    """Wait until a record is on the disk, or is known not to be."""
    future: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
    audit.durable(seq, future.set_result)
    with anyio.fail_after(20):
        return await future


async def test_what_is_added_is_there_in_order_when_the_turn_is_over(tmp_path: Path) -> None:
    audit = AuditLog(tmp_path / "log", "test")
    assert [audit.add("a", {}), audit.add("b", {})] == [0, 1]
    assert audit.write(spelled) == 2
    assert [each["kind"] for each in records(tmp_path / "log")] == ["a", "b", "test"]
    assert audit.add("c", {}) == 3
    assert await told(audit, 3) is None
    assert audit.synced >= 4
    assert audit.close() is None
    assert [each["seq"] for each in records(tmp_path / "log")] == [0, 1, 2, 3, 4]
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o700


async def test_the_chain_goes_on_where_it_ended(tmp_path: Path) -> None:
    key = await written(tmp_path / "log", 30)
    assert await written(tmp_path / "log", 30) == key
    report = verify(tmp_path / "log", key)
    assert (report.ok, report.records, report.signed) == (True, 62, 62)


async def test_a_segment_is_closed_when_it_is_large_enough(tmp_path: Path) -> None:
    key = await written(tmp_path / "log", 200, segment_bytes=4096)
    assert len(segments(tmp_path / "log")) > 3
    key = await written(tmp_path / "log", 50, segment_bytes=4096)
    assert verify(tmp_path / "log", key).ok


async def test_one_writer_at_a_time(tmp_path: Path) -> None:
    """A07: the second is refused, so there is no fork."""
    audit = AuditLog(tmp_path / "log", "test")
    with pytest.raises(AuditError, match="another process"):
        AuditLog(tmp_path / "log", "test")
    audit.close()
    AuditLog(tmp_path / "log", "test").close()


@pytest.mark.parametrize("cut", [1, 30, 100])
async def test_a_torn_end_is_written_over(tmp_path: Path, cut: int) -> None:
    """A09: what was half written was never acted on."""
    key = await written(tmp_path / "log", 5)
    (_, path) = segments(tmp_path / "log")[-1]
    path.write_bytes(path.read_bytes()[:-cut])
    (tmp_path / "log" / "checkpoints").unlink()
    audit = AuditLog(tmp_path / "log", "test")
    assert audit.size == 5
    audit.add("after", {})
    audit.close()
    assert [each["seq"] for each in records(tmp_path / "log")] == list(range(7))
    assert verify(tmp_path / "log", key).ok


async def test_a_log_that_was_changed_is_not_written_on(tmp_path: Path) -> None:
    await written(tmp_path / "log", 5)
    (_, path) = segments(tmp_path / "log")[-1]
    path.write_bytes(path.read_bytes().replace(b'"number":2', b'"number":3'))
    with pytest.raises(AuditError, match="record 2"):
        AuditLog(tmp_path / "log", "test")
    (tmp_path / "log" / "key.pem").unlink()
    with pytest.raises(AuditError, match="is gone"):
        AuditLog(tmp_path / "log", "test")


async def test_open_calls_are_known_after_a_kill_and_only_then(tmp_path: Path) -> None:
    audit = AuditLog(tmp_path / "log", "test")
    for name in ("a", "b"):
        audit.add("call.intent", {"call": f"{name * 16}.1"})
    audit.add("call.completion", {"call": f"{'b' * 16}.1"})
    assert audit.flush() is None
    killed = tmp_path / "killed"
    killed.mkdir(mode=0o700)
    for path in (tmp_path / "log").iterdir():
        (killed / path.name).write_bytes(path.read_bytes())
        (killed / path.name).chmod(0o600)
    audit.close()
    found = AuditLog(killed, "test")
    assert found.open_calls == {f"{'a' * 16}.1": 0}
    found.close()
    after = AuditLog(tmp_path / "log", "test")
    assert after.open_calls == {}
    after.close()


async def test_a_full_disk_leaves_no_gap(tmp_path: Path) -> None:
    """A08: what is owed goes first, then the record of the failure."""
    with small_disk(tmp_path / "disk") as disk:
        audit = AuditLog(disk / "log", "test")
        assert audit.write(spelled) == 0
        filler = fill(disk)
        with pytest.raises(AuditError, match="No space"):
            write_on(audit)
        refused = audit.size
        with pytest.raises(AuditError):
            audit.write(spelled)
        audit.add("owed", {"number": 1})
        assert await told(audit, audit.size - 1) is not None
        filler.unlink()
        await recovered(audit)
        assert audit.write(spelled) == refused + 2
        assert audit.close() is None
        found = records(disk / "log")
        assert [each["seq"] for each in found] == list(range(len(found)))
        assert [each["kind"] for each in found[refused:]] == [
            *("owed", "audit.failed", "test", "audit.closed")
        ]
        assert verify(disk / "log", audit.public).ok


async def test_a_checkpoint_speaks_of_what_is_written(tmp_path: Path) -> None:
    audit = AuditLog(tmp_path / "log", "test/origin")
    audit.add("a", {})
    assert audit.checkpoint().split("\n")[:2] == ["test/origin", "0"]
    audit.flush()
    assert audit.checkpoint().split("\n")[:2] == ["test/origin", "1"]
    audit.close()
    assert json.loads((tmp_path / "log" / "0000000000000000.jsonl").read_text().split("\n")[0])
