"""An index is made by whoever asks, and by several at once."""

import asyncio
import contextlib
import json
import os
import resource
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.audit import index
from shared.audit.indexing import VERSION, index_path
from shared.audit.log import AuditLog
from shared.audit.query import MAX_OPEN, Query, Wanted
from shared.audit.segments import Blocks, segments
from shared.record import encode
from tests.helpers.log_lines import ORIGIN, completion, intent

READERS = 4
ASKS = """
import json, sys
from pathlib import Path
from shared.audit.query import Query, Wanted
print("ready", flush=True)
sys.stdin.readline()
with Query(Path(sys.argv[1])) as query:
    found = query.page(Wanted(kind="call."), limit=10_000).records
print(json.dumps([each["seq"] for each in found]))
"""
FOLLOWS = """
import sys
from pathlib import Path
from shared.audit.query import Query, Wanted
last, end = -1, False
with Query(Path(sys.argv[1])) as query:
    print("ready", flush=True)
    sys.stdin.readline()
    while not end:
        page = query.page(Wanted(), after=last, limit=100)
        for each in page.records:
            assert each["seq"] == last + 1, (each, last)
            last, end = each["seq"], end or each["kind"] == "test.end"
print(last)
"""


def said(number: int) -> bytes:
    """Return what calls of this number say: words that no other has."""
    return encode.said(
        {"server": "crm", "method": "tools/call", "name": f"tool-{number}", "class": "read"},
        {"user": f"user-{number}", "agent": "bot", "session": f"{number:032x}"},
        {"decision": "allow", "policy": "b" * 64, "rule": "reads"},
    )


def add_calls(log: AuditLog, calls: int, first: int = 0) -> None:
    for number in range(first, first + calls):
        seq = log.take(intent(log.size, number, said(number)))
        log.take(completion(log.size, number, seq))
    log.flush()


def asked(folder: Path, wanted: Wanted = Wanted(kind="call.")) -> list[int]:  # noqa: B008
    with Query(folder) as query:
        return [each["seq"] for each in query.page(wanted, limit=10_000).records]


async def readers(program: str, folder: Path, count: int) -> list[asyncio.subprocess.Process]:
    """Start programs that wait until they are told to begin."""
    pipe, words = asyncio.subprocess.PIPE, (sys.executable, "-c", program, str(folder))
    started = [
        await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe) for _ in range(count)
    ]
    for each in started:
        assert each.stdout is not None
        assert await each.stdout.readline() == b"ready\n"
    return started


async def answers(started: list[asyncio.subprocess.Process]) -> list[object]:
    told = await asyncio.gather(*(each.communicate(b"\n") for each in started))
    assert [each.returncode for each in started] == [0] * len(started)
    return [json.loads(out) for out, _ in told]


async def test_several_readers_make_the_same_indexes_at_once(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "log", ORIGIN, segment_bytes=2 << 20)
    add_calls(log, 4_000)
    assert log.close() is None
    whole = asked(log.folder)
    assert len(whole) == 8_000
    for _ in range(2):
        without_indexes(log.folder)
        started = await readers(ASKS, log.folder, READERS)
        assert await answers(started) == [whole] * READERS
        assert asked(log.folder) == whole
        assert len(asked(log.folder, Wanted(user="user-17"))) == 2


async def test_several_readers_follow_what_is_written(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "log", ORIGIN, segment_bytes=40_000)
    add_calls(log, 1)
    started = await readers(FOLLOWS, log.folder, READERS)
    following = asyncio.create_task(answers(started))
    for number in range(1, 1_000, 5):
        add_calls(log, 5, first=number)
        await asyncio.sleep(0)
    end = log.add("test.end", {})
    log.flush()
    assert await following == [end] * READERS
    assert log.close() is None


async def test_what_another_reader_made_meanwhile_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when another is first again, and with words that this one does not know."""
    log = AuditLog(tmp_path / "log", ORIGIN)
    add_calls(log, 3)
    real, met = Blocks.lines_from, list[Blocks]()

    def late(blocks: Blocks, offset: int) -> Iterator[bytes]:
        if len(met) < 2 and all(each is not blocks for each in met):
            met.append(blocks)
            monkeypatch.setattr(Blocks, "lines_from", real)
            add_calls(log, 2, first=log.size)
            asked(log.folder)
            add_calls(log, 2, first=log.size)
            monkeypatch.setattr(Blocks, "lines_from", late)
        return real(blocks, offset)

    with Query(log.folder) as query:
        for _ in range(3):
            met.clear()
            monkeypatch.setattr(Blocks, "lines_from", late)
            page = query.page(Wanted(kind="call."), limit=10_000)
            monkeypatch.setattr(Blocks, "lines_from", real)
            assert len(met) == 2
            assert [each["seq"] for each in page.records] == asked(log.folder)
            begun, ended = page.records[-2:]
            wanted = Wanted(user=begun["who"]["user"])
            assert asked(log.folder, wanted) == [begun["seq"], ended["seq"]]
    assert log.close() is None


async def test_two_readers_find_an_index_of_an_older_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second goes on with what the first made, in the same file."""
    log = AuditLog(tmp_path / "log", ORIGIN)
    add_calls(log, 3)
    whole = asked(log.folder)
    where = index_path(log.folder, segments(log.folder)[0].first)
    with sqlite3.connect(where) as db:
        db.execute("DROP TABLE named")
        db.execute(f"PRAGMA user_version = {VERSION - 1}")
    before = where.stat().st_ino
    real = index._version

    def late(db: sqlite3.Connection) -> int:
        found = real(db)
        if found != VERSION and not db.in_transaction:
            monkeypatch.setattr(index, "_version", real)
            assert asked(log.folder) == whole
        return found

    monkeypatch.setattr(index, "_version", late)
    assert asked(log.folder) == whole
    assert index._version is real, "another was first"
    assert where.stat().st_ino == before
    assert log.close() is None


async def test_a_reader_that_was_stopped_while_it_wrote_holds_up_nobody_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_BUSY_SECONDS", 0.01)
    log = AuditLog(tmp_path / "log", ORIGIN)
    add_calls(log, 3)
    whole = asked(log.folder)
    add_calls(log, 3, first=10)
    stopped = sqlite3.connect(index_path(log.folder, 0), isolation_level=None)
    stopped.execute("BEGIN IMMEDIATE")
    more = asked(log.folder)
    assert len(more) == len(whole) + 6
    stopped.close()
    assert asked(log.folder) == more
    assert log.close() is None


async def test_an_index_that_nobody_can_write_down_is_made_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, for example: then people look at the log."""
    log = AuditLog(tmp_path / "log", ORIGIN)
    add_calls(log, 300)
    real = index._prepared

    def full(db: sqlite3.Connection) -> sqlite3.Connection:
        made = real(db)
        if db.execute("PRAGMA database_list").fetchone()[2]:
            pages = db.execute("PRAGMA page_count").fetchone()[0]
            db.execute(f"PRAGMA max_page_count = {pages}")
        return made

    monkeypatch.setattr(index, "_prepared", full)
    assert len(asked(log.folder)) == 600
    assert log.close() is None


def without_indexes(folder: Path) -> None:
    """Remove what the process that closes segments made."""
    for path in folder.glob("*.index"):
        path.unlink()


async def handed_over(folder: Path, borders: int) -> AuditLog:
    """Write a log of small segments without indexes, with a call under way wherever one ends."""
    log = AuditLog(folder, ORIGIN, segment_bytes=1_000)
    number, under_way = 0, log.take(intent(log.size, 0, said(0)))
    while len(segments(folder)) <= borders:
        seq = log.take(intent(log.size, number + 1, said(number + 1)))
        log.take(completion(log.size, number, under_way))
        number, under_way = number + 1, seq
        log.flush()
    log.take(completion(log.size, number, under_way))
    assert log.close() is None
    without_indexes(folder)
    return log


async def test_calls_across_every_border_are_found_without_any_index(tmp_path: Path) -> None:
    """The newest first too: there is no end to the borders that a log has."""
    borders = sys.getrecursionlimit() // 3
    log = await handed_over(tmp_path / "log", borders)
    with Query(log.folder) as query:
        newest = query.page(Wanted(), limit=3, newest=True).records
    made = len(list(log.folder.glob("*.index")))
    assert made < 5, "one segment's index takes no other but those it inherits from"
    ended = newest[1]
    assert ended["kind"] == "call.completion"
    number = int(ended["call"].partition(".")[2])
    for _ in range(2):  # the second time nothing is owed any more
        assert ended["seq"] in asked(log.folder, Wanted(user=f"user-{number}"))
    assert len(asked(log.folder, Wanted(agent="bot", kind="call.completion"))) == number + 1


async def test_what_is_owed_is_asked_of_an_index_that_is_whole(tmp_path: Path) -> None:
    """One that is damaged is made anew, also when it is only asked for what it handed on."""
    log = await handed_over(tmp_path / "log", 6)
    whole = asked(log.folder, Wanted(agent="bot"))
    parts = segments(log.folder)
    for harm in ("DROP TABLE words", "DROP TABLE records"):
        index_path(log.folder, parts[3].first).unlink()
        with sqlite3.connect(index_path(log.folder, parts[2].first)) as db:
            db.execute(harm)
        db.close()
        ahead = parts[3].first - 1
        with Query(log.folder) as query:
            found = query.page(Wanted(agent="bot"), after=ahead, limit=1_000).records
        assert [each["seq"] for each in found] == [seq for seq in whole if seq > ahead]


async def test_what_was_damaged_owes_nothing_when_it_was_made_anew(tmp_path: Path) -> None:
    log = await handed_over(tmp_path / "log", 6)
    whole = asked(log.folder, Wanted(agent="bot"))
    with sqlite3.connect(index_path(log.folder, segments(log.folder)[3].first)) as db:
        db.execute("UPDATE records SET at = at + 1")
    db.close()
    assert asked(log.folder, Wanted(agent="bot")) == whole
    assert asked(log.folder, Wanted(agent="bot")) == whole


@contextlib.contextmanager
def few_descriptors() -> Iterator[None]:
    """Leave a few more descriptors than a question may hold indexes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken + MAX_OPEN + 10, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_question_over_many_segments_holds_few_of_them(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "log", ORIGIN, segment_bytes=600)
    number = 0
    while len(segments(log.folder)) < MAX_OPEN + 40:
        log.take(intent(log.size, number, said(number)))
        log.flush()
        number += 1
    assert log.close() is None
    # A start ends the calls under way, all in one segment: it inherits from every other.
    assert AuditLog(log.folder, ORIGIN, segment_bytes=1 << 20).close() is None
    without_indexes(log.folder)
    ended = Wanted(agent="bot", kind="call.completion")
    with few_descriptors(), Query(log.folder) as query:
        assert len(query.page(ended, limit=1_000, newest=True).records) == number
        for _ in range(2):
            assert len(query.page(Wanted(agent="bot"), limit=1_000).records) == 2 * number
            assert len(query.sessions("0" * 20)) == number


async def test_who_did_it_is_found_as_well_as_whom_it_is_about(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "log", ORIGIN)
    who = {"agent": "bot", "session": "a" * 32, "user": "uma"}
    told: list[tuple[str, dict[str, object]]] = [
        ("admin.asked", {"by": "carol", "command": "lock_add"}),
        ("approval.denied", {"by": "carol", "who": who}),
        ("session.revoked", {"by": "uma", "user": "uma"}),
        ("session.cut", {"by": "carol", "sessions": ["a" * 32, "b" * 32]}),
        ("call.refused", {"who": who, "why": {"by": "carol", "decision": "deny"}}),
    ]
    assert [log.add(kind, facts) for kind, facts in told] == [1, 2, 3, 4, 5]
    log.flush()
    for _ in range(2):  # the second time the index lies there
        assert asked(log.folder, Wanted(user="carol")) == [1, 2, 4]
        assert asked(log.folder, Wanted(user="uma")) == [2, 3, 5]
        assert asked(log.folder, Wanted(user="uma", session="a" * 32, kind="approval.")) == [2]
        assert asked(log.folder, Wanted(user="carol", session="b" * 32)) == [4]
    with Query(log.folder) as query:
        assert query.sessions("a") == ["a" * 32]
    assert log.close() is None


async def test_issuer_and_subject_are_found_as_the_relay_and_as_readers_spell_them(
    tmp_path: Path,
) -> None:
    log = AuditLog(tmp_path / "log", ORIGIN)
    issuer = "https://idp.example"
    log.add("session.created", {"user": f"{issuer}#bob smith#2"})
    log.add("call.refused", {"who": {"user": [issuer, "bob smith#2"]}})
    log.add("session.revoked", {"user": "uma", "by": f"{issuer}#bob smith#2"})
    log.add("session.created", {"user": "team#bob"})
    log.flush()
    for mark in "# ":
        assert asked(log.folder, Wanted(user=f"{issuer}{mark}bob smith#2")) == [1, 2, 3], mark
        assert asked(log.folder, Wanted(user=f"{issuer}{mark}bob smith")) == []
    assert asked(log.folder, Wanted(user=issuer)) == []
    assert asked(log.folder, Wanted(user="team#bob")) == [4]
    assert asked(log.folder, Wanted(user="team bob")) == []
    assert log.close() is None
