"""Records are found by what they say, in files alone."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from shared.audit.log import AuditLog
from shared.audit.private import AuditError
from shared.audit.query import Query, Wanted, WantedError
from shared.audit.segments import compress, segments
from shared.record import encode
from tests.helpers.log_lines import ORIGIN, SAID, completion, intent, write_calls
from tests.shared.audit.test_log import records

EVE = encode.said(
    {"server": "desk", "method": "tools/call", "name": "open", "class": "write"},
    {"user": ["https://idp.example", "17"], "agent": "bot", "session": "ab" * 16},
    {"decision": "require_approval", "policy": "b" * 64, "rule": "writes"},
)
SEGMENT = 20_000
TIMES = ("since", "until")


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """A log of several segments, with a call that began in the first and ended in the last."""
    log = AuditLog(tmp_path / "log", ORIGIN, segment_bytes=SEGMENT)
    late = log.write(lambda seq, now: intent(seq, 7_000, EVE))
    for number in range(0, 150, 3):
        write_calls(log, 2, first=number)
        write_calls(log, 1, first=number + 2, said=EVE)
    log.add("call.refused", {"call": "r.1", "who": {"user": "ada"}, "result": "denied"})
    log.add("link.up", {"session": "ab" * 16, "upstream": "desk", "tool": "x", "user": "mia"})
    log.take(completion(log.size, 7_000, late, b"timeout"))
    log.close()
    assert len(segments(log.folder)) > 4
    return log.folder


def found(folder: Path, wanted: Wanted, **more: Any) -> list[int]:
    with Query(folder) as query:
        return [each["seq"] for each in query.page(wanted, limit=1000, **more).records]


def by_hand(folder: Path, **wanted: str) -> list[int]:
    """Find records the slow way; a completion is of whom its intent was."""
    begun: dict[int, dict[str, Any]] = {}
    seqs = []
    for each in records(folder):
        facts = each
        if each["kind"] == "call.completion":
            facts = {**begun[each["intent"]], **each}
        begun[each["seq"]] = facts
        who, what, why = (facts.get(name, {}) for name in ("who", "what", "why"))
        said = {
            "agent": who.get("agent"),
            "server": what.get("server"),
            "kind": each["kind"],
            "tool": what.get("name"),
            "tool_class": what.get("class"),
            "decision": why.get("decision"),
            "result": each.get("result"),
        }
        if all(said[name] == value for name, value in wanted.items()):
            seqs.append(each["seq"])
    return seqs


@pytest.mark.parametrize(
    "wanted",
    [
        *({"agent": "helper"}, {"agent": "bot"}, {"server": "crm"}, {"tool": "open"}),
        *({"tool_class": "write"}, {"decision": "allow"}, {"result": "ok"}, {"kind": "link.up"}),
        *({"agent": "bot", "result": "timeout"}, {"tool": "open", "decision": "allow"}),
    ],
    ids=str,
)
def test_what_is_found_is_what_is_there(folder: Path, wanted: dict[str, str]) -> None:
    seqs = by_hand(folder, **wanted)
    asked = wanted_of(wanted)
    assert found(folder, asked) == seqs
    assert found(folder, asked, newest=True) == seqs[::-1]


def wanted_of(words: dict[str, Any]) -> Wanted:
    return Wanted(**words)


def test_a_question_for_a_person_finds_calls_with_their_ends(folder: Path) -> None:
    eve = found(folder, Wanted(user="https://idp.example 17"))
    assert len(eve) == 2 + 2 * 50
    assert found(folder, Wanted(user="https://idp.example 17", result="timeout")) == eve[-1:]
    assert found(folder, Wanted(user="mia", server="desk", tool="x")) == found(
        folder, Wanted(kind="link.up")
    )
    assert found(folder, Wanted(user="nobody")) == []


def test_kinds_and_sessions_are_found_by_how_they_begin(folder: Path) -> None:
    calls = found(folder, Wanted(kind="call."))
    assert len(calls) == 2 * 151 + 1
    assert found(folder, Wanted(session="abab", kind="link")) == found(
        folder, Wanted(kind="link.up")
    )
    assert found(folder, Wanted(session="%", kind="_")) == []
    assert found(folder, Wanted(call="r.1")) == found(folder, Wanted(kind="call.refused"))


async def test_a_record_of_several_sessions_is_found_by_each(tmp_path: Path) -> None:
    """As the relay has them when it cuts; beside them what an older client called by its start."""
    ids = [f"{number:x}" * 32 for number in range(1, 4)]
    log = AuditLog(tmp_path / "log", ORIGIN)
    log.add("link.up", {"session": ids[0]})
    log.add("session.cut", {"sessions": [*ids, 7, "", None]})
    log.add("session.cut", {"sessions": ids[1:]})
    log.add("session.cut", {"session": ids[2][:8]})
    assert log.flush() is None
    for _ in range(2):  # the second time the index lies there
        wanted = [Wanted(session=each) for each in (*ids, ids[1][:6], "e" * 32)]
        assert [found(log.folder, each)[1:] for each in wanted] == [[2], [3], [3], [3], []]
        cut = Wanted(session=ids[0], kind="session.cut")
        assert len(found(log.folder, cut)) == 1
        with Query(log.folder) as query:
            named = [query.sessions(each) for each in ("1", "22", ids[1], "333", "e")]
        assert named == [[ids[0]], [ids[1]], [ids[1]], [ids[2]], []]
    log.close()


async def test_an_index_of_an_older_version_is_made_anew(tmp_path: Path) -> None:
    """It knows nothing of records of several sessions."""
    log = AuditLog(tmp_path / "log", ORIGIN)
    log.add("session.cut", {"sessions": ["a" * 32]})
    assert log.close() is None
    (seq,) = found(log.folder, Wanted(session="a" * 32))
    db = sqlite3.connect(log.folder / "0000000000000000.index")
    with db:
        db.execute("DROP TABLE named")
        db.execute("PRAGMA user_version = 1")
    db.close()
    assert found(log.folder, Wanted(session="a" * 32)) == [seq]


async def test_a_server_is_found_by_the_name_that_the_relay_shows_too(tmp_path: Path) -> None:
    """Records of calls do not say their tunnel; what says another one is of another server."""
    log = AuditLog(tmp_path / "log", ORIGIN)
    first = log.write(lambda seq, now: intent(seq, 1))  # of `crm`
    log.take(completion(log.size, 1, first))
    for tunnel in ("home", "office", "home"):
        log.add("session.created", {"what": {"server": "crm", "tunnel": tunnel}})
        log.add("tool.told", {"upstream": "crm", "tunnel": tunnel})
    log.add("call.refused", {"what": {"server": "home/crm"}})
    log.add("call.refused", {"what": {"server": "mail", "tunnel": "home"}})
    assert log.close() is None
    home, whole = Wanted(server="home/crm"), [1, 2, 3, 4, 7, 8, 9]
    assert found(log.folder, home) == whole
    assert found(log.folder, home, newest=True) == whole[::-1]
    assert len(found(log.folder, Wanted(server="crm"))) == 8
    assert found(log.folder, Wanted(server="home/none")) == []
    for newest in (False, True):
        seqs: list[int] = []
        cursor: int | None = None
        with Query(log.folder) as query:
            while True:
                bounds = {"before" if newest else "after": cursor}
                page = query.page(home, limit=3, newest=newest, **bounds)
                seqs += [each["seq"] for each in page.records]
                cursor = page.cursor
                if cursor is None:
                    break
        assert sorted(seqs) == whole


def test_times_are_bounds(folder: Path) -> None:
    times = {each["seq"]: each["time"] for each in records(folder)}
    middle = times[150]
    wanted = [seq for seq, when in times.items() if when >= middle]
    assert found(folder, Wanted(since=middle)) == wanted
    assert found(folder, Wanted(until=middle)) == [seq for seq in times if seq not in wanted]
    assert found(folder, Wanted(since=2**60)) == found(folder, Wanted(until=0)) == []


def test_what_lies_beyond_every_number_finds_nothing_or_all(folder: Path) -> None:
    everything = found(folder, Wanted())
    for beyond in (2**63, 10**30):
        assert found(folder, Wanted(), after=beyond) == found(folder, Wanted(since=beyond)) == []
        assert found(folder, Wanted(), before=-beyond) == found(folder, Wanted(until=-beyond)) == []
        for bounds in ({"before": beyond}, {"after": -beyond}):
            assert found(folder, Wanted(), **bounds) == everything, bounds
        assert found(folder, Wanted(since=-beyond, until=beyond)) == everything


@pytest.mark.parametrize("name", [each for each in Wanted._fields if each not in TIMES])
def test_a_word_that_stands_in_no_record_is_no_question(folder: Path, name: str) -> None:
    indexes = {each: each.stat().st_mtime_ns for each in folder.glob("*.index")}
    with pytest.raises(WantedError, match="UTF-8"):
        found(folder, wanted_of({name: "a\ud800"}))
    assert {each: each.stat().st_mtime_ns for each in folder.glob("*.index")} == indexes


def test_a_word_is_no_longer_than_an_index_knows_it(folder: Path) -> None:
    assert found(folder, Wanted(user="x" * 512)) == []
    with pytest.raises(WantedError, match="user: give at most 512 characters"):
        found(folder, Wanted(user="x" * 513))
    with Query(folder) as query:
        for begins in ("\ud800", "x" * 513):
            with pytest.raises(WantedError):
                query.sessions(begins)


@pytest.mark.parametrize("newest", [False, True])
@pytest.mark.parametrize("limit", [1, 7, 100])
def test_pages_hold_everything_once_in_order(folder: Path, newest: bool, limit: int) -> None:
    wanted = Wanted(agent="bot")
    seqs: list[int] = []
    cursor: int | None = None
    with Query(folder) as query:
        while True:
            bounds = {"before" if newest else "after": cursor}
            page = query.page(wanted, limit=limit, newest=newest, **bounds)
            seqs += [each["seq"] for each in page.records]
            cursor = page.cursor
            if cursor is None:
                break
        assert [each["seq"] for each in query.all(wanted)] == sorted(seqs)
    assert seqs == found(folder, wanted, newest=newest)


async def test_what_is_written_meanwhile_is_found(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "log", ORIGIN, segment_bytes=SEGMENT)
    with Query(log.folder) as query:
        for number in range(0, 120, 10):
            seq = log.write(lambda seq, now, number=number: intent(seq, number, EVE))  # type: ignore[misc]
            assert [each["seq"] for each in query.page(Wanted(user="mia")).records] == []
            page = query.page(Wanted(agent="bot"), newest=True, limit=1)
            assert page.records[0]["seq"] == seq
            write_calls(log, 9, first=number + 1)
            log.take(completion(log.size, number, seq))
            log.flush()
            page = query.page(Wanted(agent="bot", result="ok"), newest=True, limit=1)
            assert page.records[0]["intent"] == seq
    log.close()


def test_an_index_can_be_thrown_away_broken_or_of_another_log(folder: Path, tmp_path: Path) -> None:
    wanted = Wanted(agent="bot")
    seqs = found(folder, wanted)
    indexes = sorted(folder.glob("*.index"))
    assert len(indexes) == len(segments(folder))
    assert {path.stat().st_mode & 0o777 for path in indexes} == {0o600}
    indexes[0].unlink()
    indexes[1].write_bytes(b"not a database at all" * 100)
    indexes[2].write_bytes(indexes[-1].read_bytes())
    indexes[3].write_bytes(b"")
    assert found(folder, wanted) == seqs
    with Query(folder, tmp_path / "nowhere") as query:
        page = query.page(wanted, limit=1000)
    assert [each["seq"] for each in page.records] == seqs


def test_an_index_only_says_where(folder: Path) -> None:
    """What is shown is what stands in the log, whatever an index says; then it is made anew."""
    found(folder, Wanted())
    before = (folder / "0000000000000000.index").read_bytes()
    for harm in ("at = at + 1 WHERE seq = 3", "at = 'here' WHERE seq = 3"):
        db = sqlite3.connect(folder / "0000000000000000.index")
        with db:
            db.execute(f"UPDATE records SET {harm}")  # noqa: S608
        db.close()
        assert (folder / "0000000000000000.index").read_bytes() != before
        with Query(folder) as query:
            shown = query.page(Wanted(), after=1, limit=3).records
        assert [each["seq"] for each in shown] == [2, 3, 4]
        kinds = [each["kind"] for each in shown]
        assert kinds == ["call.intent", "call.completion", "call.intent"]


def test_a_page_of_an_index_that_is_damaged_is_not_what_is_answered(folder: Path) -> None:
    wanted = Wanted(agent="bot")
    seqs = found(folder, wanted)
    path = folder / "0000000000000000.index"
    whole = path.read_bytes()
    for at in range(4096, len(whole), 4096):
        path.write_bytes(whole[:at] + bytes(range(256)) * 16 + whole[at + 4096 :])
        assert found(folder, wanted) == seqs, f"page at {at}"


async def test_the_index_of_a_log_that_was_here_before_is_made_anew(tmp_path: Path) -> None:
    """Of closed segments too: they lie there under the same names."""
    # Every record lies where the other log's does.
    for name, said in (("old", SAID.replace(b"helper", b"hidden")), ("new", SAID)):
        log = AuditLog(tmp_path / name, ORIGIN, segment_bytes=SEGMENT)
        write_calls(log, 60, said=said)
        log.close()
        for each in segments(log.folder)[:-1]:
            if not each.compressed:
                compress(each.path)
    new, old = tmp_path / "new", tmp_path / "old"
    assert found(new, Wanted(agent="hidden")) == []
    assert found(old, Wanted(agent="hidden")) == found(new, Wanted(agent="helper")) != []
    for path in old.glob("*.index"):
        (new / path.name).write_bytes(path.read_bytes())
    assert found(new, Wanted(agent="hidden")) == []
    assert found(new, Wanted(agent="helper")) == by_hand(new, agent="helper")


def test_lines_that_are_no_records_are_passed_over(folder: Path) -> None:
    """`verify` says what is wrong with them; the others are found all the same."""
    part = segments(folder)[1]
    wanted = Wanted(agent="helper")
    before = found(folder, wanted)
    harmed = next(seq for seq in before if seq > part.first)
    for path in folder.glob("*.index"):
        path.unlink()
    lines = part.path.read_bytes().splitlines(keepends=True)
    lines[harmed - part.first] = b"\xff" * 40 + b"\n"
    part.path.write_bytes(b"".join(lines))
    after = found(folder, wanted)
    # What began with it is nobody's any more.
    assert {harmed} <= set(before) - set(after) <= {harmed, harmed + 1}
    assert set(after) < set(before)


def test_the_log_is_not_changed_by_a_question(folder: Path) -> None:
    """A21: a question renders what is there."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    found(folder, Wanted(kind="call."))
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {name: text for name, text in after.items() if not name.endswith(".index")} == before


def test_where_there_is_no_log_there_is_no_answer(tmp_path: Path) -> None:
    with Query(tmp_path) as query, pytest.raises(AuditError, match="no log"):
        query.page(Wanted())
