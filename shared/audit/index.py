"""An index of one segment, in SQLite: made by whoever asks, or by a process beside the writer.

It can be thrown away, and is made anew when it is not of the segment that is there. A segment that
is still written has one too, which is continued where it ends. What is said of a call in its intent
is said of its completion as well, so that one question finds both.

What an intent in an earlier segment said is owed to its completion until somebody asks: taking in a
segment takes no other one, however many calls cross its borders.

Several readers may make one index at once: what it covers is read again once this reader alone may
write, so each takes in what the others have not.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from shared import ours
from shared.audit.indexing import VERSION
from shared.audit.segments import Blocks, Segment
from shared.record import repeats
from shared.record.chain import RECORD_AT
from shared.record.model import COMPLETION, INTENT, RecordError, parse, user_text

COLUMNS = ("kind", "user", "agent", "session", "server", "tool", "class", "decision", "result")
"""What can be asked for, by words; the rest are the call, the number and the time."""
INHERITED = slice(1, 8)
"""The columns that a completion takes from its intent."""
DAMAGE = (sqlite3.DatabaseError, TypeError, OverflowError, OSError)
"""What comes of an index in which anything may stand."""
MAX_WORD = 512
"""Characters of a word that are known; of a longer one only these."""
Words = tuple[str, ...]
Inherit = Callable[[Iterable[int]], Mapping[int, Words]]
"""Says what the indexes of earlier segments have of records, of those that are there."""

_BATCH = 5000
_BUSY_SECONDS = 30.0
"""For others who write into an index; a batch takes them milliseconds."""
_LATEST = 2**63 - 1
_NAMES = ", ".join(f'"{each}" INTEGER' for each in COLUMNS)
_SCHEMA = (
    "CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT NOT NULL UNIQUE)",
    "CREATE TABLE state (covered INTEGER, next INTEGER, hash BLOB, low INTEGER, high INTEGER)",
    "INSERT INTO state VALUES (0, 0, x'', NULL, NULL)",
    f"""CREATE TABLE records (
        seq INTEGER PRIMARY KEY, at INTEGER, length INTEGER, time INTEGER, call TEXT, {_NAMES}
    )""",
    'CREATE TABLE named (seq INTEGER, "user" INTEGER, session INTEGER)',
    "CREATE TABLE owed (seq INTEGER, intent INTEGER)",
    f"PRAGMA user_version = {VERSION}",
)


class Index:
    """The index of a segment, brought up to its end; raises AuditError. Close it.

    It is to be settled before it is asked for anything but what its intents say.
    """

    def __init__(self, segment: Segment, where: Path | None) -> None:
        """Open it, made if need be; `where`: its file, None for one in memory."""
        self.segment = segment
        self._words: dict[str, int] = {"": 0}
        self._open: dict[str, tuple[int, ...]] = {}
        self._intents = repeats.Intents()
        self._named: list[tuple[int, int, int]] = []
        """Users and sessions that records name beside the first; not stored yet."""
        self._owed: list[tuple[int, int]] = []
        """Completions with intents in earlier segments, which are not stored yet."""
        self._ends: dict[bytes, tuple[int, ...]] = {}
        """Columns of intents by how these end."""
        self._where = where
        self._seen: int | None = None
        """Of what SQLite counts when another reader writes: when all this was read."""
        self._open_at(where)
        try:
            with Blocks(segment.path) as blocks:
                self._read_state()
                if not self._is_of(blocks):
                    raise sqlite3.DatabaseError("of other records")
                self._catch_up(blocks)
        except DAMAGE:
            # Broken, of a log that was here before, or kept busy by somebody who was stopped.
            self.make_anew()

    def make_anew(self) -> None:
        """Throw away what it knows and read the segment again; raises AuditError."""
        self.db.close()
        self._open_at(self._where, anew=True)
        try:
            self._make()
        except DAMAGE:
            # What is wrong with that file, a full disk for example, is not wrong with memory.
            self.db.close()
            self._open_at(None)
            self._make()

    def _open_at(self, where: Path | None, *, anew: bool = False) -> None:
        self.db = _opened(where, anew=anew)
        self.filed = bool(self.db.execute("PRAGMA database_list").fetchone()[2])
        """Does it lie in a file, for which a descriptor is taken?"""

    def _make(self) -> None:
        self._seen = None
        self._read_state()
        with Blocks(self.segment.path) as blocks:
            self._catch_up(blocks)

    def close(self) -> None:
        """Close its file."""
        self.db.close()

    def settle(self, inherit: Inherit) -> None:
        """Have completions say what their intents said in earlier segments; raises AuditError."""
        owed = dict(self.db.execute("SELECT seq, intent FROM owed").fetchall())
        if not owed:
            return
        # Asked before this reader holds what others wait for.
        said = inherit(set(owed.values()))
        columns = ", ".join(f'"{each}" = ?' for each in COLUMNS[INHERITED])
        text = f"UPDATE records SET {columns} WHERE seq = ?"  # noqa: S608
        with self.db:
            self.db.execute("BEGIN IMMEDIATE")
            self._read_again()
            known = len(self._words)
            words = (
                (seq, said[intent][INHERITED]) for seq, intent in owed.items() if intent in said
            )
            rows = [(*map(self._id, each), seq) for seq, each in words]
            self._store_words(known)
            self.db.executemany(text, rows)
            self.db.executemany("DELETE FROM owed WHERE seq = ?", ((seq,) for seq in owed))

    def words_of(self, seq: int) -> Words | None:
        """Return what is said of a record, by column; None when it is not there."""
        row = self._ids_of(seq)
        return None if row is None else tuple(map(self._word, row))

    def _ids_of(self, seq: int) -> tuple[int, ...] | None:
        names = ", ".join(f'"{each}"' for each in COLUMNS)
        found = self.db.execute(f"SELECT {names} FROM records WHERE seq = ?", (seq,))  # noqa: S608
        row = found.fetchone()
        return None if row is None else tuple(row)

    def _word(self, identifier: int) -> str:
        found = self.db.execute("SELECT word FROM words WHERE id = ?", (identifier,)).fetchone()
        return "" if found is None else str(found[0])

    def _read_state(self) -> None:
        if _version(self.db) != VERSION:
            raise sqlite3.DatabaseError("of another version")
        row = self.db.execute("SELECT covered, next, hash, low, high FROM state").fetchone()
        self.covered, self.next, self._last, self.low, self.high = row
        if not self.covered:
            self.next = self.segment.first

    def _read_again(self) -> None:
        """Know what others stored since; only who may write knows it for as long as it writes."""
        seen = self.db.execute("PRAGMA data_version").fetchone()[0]
        if seen != self._seen:
            self._read_state()
            found = self.db.execute("SELECT word, id FROM words")
            self._words = {"": 0, **dict(found.fetchall())}
            self._open, self._ends, self._named, self._owed = {}, {}, [], []
            self._seen = seen

    def _is_of(self, blocks: Blocks) -> bool:
        """Tell whether the last record that is known is still there, with its hash."""
        if not self.covered:
            return True
        if self.next <= self.segment.first:
            return False
        found = self.db.execute("SELECT at, length FROM records WHERE seq = ?", (self.next - 1,))
        row = found.fetchone()
        if row is None:
            return False
        # Its hash follows from all records before it.
        line = blocks.line(*row)
        return bool(line[9:73] == self._last)

    def _catch_up(self, blocks: Blocks) -> None:
        """Take in what is new; who finds nothing new waits for nobody."""
        while next(blocks.lines_from(self.covered), b"").endswith(b"\n"):
            with self.db:
                self.db.execute("BEGIN IMMEDIATE")
                self._read_again()
                known = len(self._words)
                self._store(list(self._rows(blocks)), known)

    def _rows(self, blocks: Blocks) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of the next lines that are whole."""
        for line in islice(blocks.lines_from(self.covered), _BATCH):
            if not line.endswith(b"\n"):
                return
            yield self._row(line)
            self.covered += len(line)
            self._last = line[9:73]
            self.next += 1

    def _row(self, line: bytes) -> tuple[Any, ...]:
        record = line[RECORD_AT:-2]
        found = repeats.COMPLETION.fullmatch(record)
        if found is not None:
            call = found[1].decode()
            said = self._open.pop(call, None) or self._said_before(int(found[2]))
            columns = (self._id(COMPLETION), *said[INHERITED], self._id(found[3].decode()))
            return self._timed(line, int(found[5]), call, columns)
        found = self._intents.match(record)
        if found is not None:
            call = found[2].decode()
            columns = self._open[call] = self._ends.get(found[5]) or self._of_end(found[5])
            return self._timed(line, int(found[4]), call, columns)
        return self._parsed(line, record)

    def _of_end(self, end: bytes) -> tuple[int, ...]:
        """Return the columns of intents that end so."""
        if len(self._ends) >= repeats.MAX_KNOWN:
            self._ends.clear()
        facts = parse(b'{"kind":"call.intent","seq":0,"time":0,' + end)
        self._ends[end] = columns = tuple(map(self._id, words_of(facts)))
        return columns

    def _timed(
        self, line: bytes, when: int, call: str, columns: tuple[int, ...]
    ) -> tuple[Any, ...]:
        self.low = when if self.low is None or when < self.low else self.low
        self.high = when if self.high is None or when > self.high else self.high
        return (self.next, self.covered, len(line), when, call, *columns)

    def _parsed(self, line: bytes, record: bytes) -> tuple[Any, ...]:
        """Return the row of a record that is spelled in another way, or is no call."""
        try:
            facts = parse(record)
        except RecordError:
            # `verify` says what is wrong with it.
            return (self.next, self.covered, len(line), 0, "", *((0,) * len(COLUMNS)))
        call, kind = facts.get("call"), facts["kind"]
        call = call if isinstance(call, str) else ""
        if kind == COMPLETION:
            said = self._open.pop(call, None) or self._said_before(facts.get("intent"))
            result = self._id(facts.get("result"))
            columns = (self._id(kind), *said[INHERITED], result)
        else:
            columns = tuple(map(self._id, words_of(facts)))
            if kind == INTENT:
                self._open[call] = columns
            self._name_others(facts, columns[COLUMNS.index("user")])
        return self._timed(line, min(facts["time"], _LATEST), call, columns)

    def _name_others(self, facts: Mapping[str, Any], user: int) -> None:
        several = facts.get("sessions")
        if isinstance(several, list):
            self._named += ((self.next, 0, self._id(each)) for each in several)
        actor = self._id(user_text(facts.get("by")))
        if actor not in (0, user):
            self._named.append((self.next, actor, 0))

    def _said_before(self, intent: object) -> tuple[int, ...]:
        nothing = (0,) * len(COLUMNS)
        if not isinstance(intent, int) or not 0 <= intent < self.next:
            return nothing
        if intent >= self.segment.first:
            # Its intent was taken in when this index was open before.
            return self._ids_of(intent) or nothing
        self._owed.append((self.next, intent))
        return nothing

    def _id(self, word: object) -> int:
        if not isinstance(word, str) or not word:
            return 0
        word = word[:MAX_WORD]
        known = self._words.get(word)
        if known is None:
            known = self._words[word] = len(self._words)
        return known

    def _store(self, batch: list[tuple[Any, ...]], known: int) -> None:
        self._store_words(known)
        marks = ", ".join("?" * (5 + len(COLUMNS)))
        self.db.executemany(f"INSERT INTO records VALUES ({marks})", batch)  # noqa: S608
        self.db.executemany("INSERT INTO named VALUES (?, ?, ?)", self._named)
        self.db.executemany("INSERT INTO owed VALUES (?, ?)", self._owed)
        state = (self.covered, self.next, self._last, self.low, self.high)
        self.db.execute("UPDATE state SET covered=?, next=?, hash=?, low=?, high=?", state)
        self._named, self._owed = [], []

    def _store_words(self, known: int) -> None:
        words = islice(self._words.items(), known, None)
        self.db.executemany("INSERT INTO words (word, id) VALUES (?, ?)", words)


def words_of(facts: Mapping[str, Any]) -> Iterable[object]:
    """Return what a record is found by, in the order of `COLUMNS`."""
    who, what, why = (_part(facts, name) for name in ("who", "what", "why"))
    return (
        facts.get("kind"),
        # Readers are shown whoever did it where a record is of nobody else.
        user_text(who.get("user", facts.get("user"))) or user_text(facts.get("by")),
        who.get("agent", facts.get("agent")),
        who.get("session", facts.get("session")),
        what.get("server", facts.get("upstream")),
        what.get("name", facts.get("tool")),
        what.get("class"),
        why.get("decision"),
        facts.get("result"),
    )


def _part(facts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = facts.get(name)
    return found if isinstance(found, Mapping) else {}


def _opened(where: Path | None, *, anew: bool = False) -> sqlite3.Connection:
    if where is None:
        return _prepared(sqlite3.connect(":memory:", isolation_level=None))
    try:
        if anew:
            # Whoever has it open goes on with it; another reader may have been first.
            where.unlink(missing_ok=True)
        _made(where)
        # Not by its path alone: SQLite would make it for everybody, where it is removed meanwhile.
        name = f"{where.absolute().as_uri()}?mode=rw"
        db = sqlite3.connect(name, timeout=_BUSY_SECONDS, isolation_level=None, uri=True)
        return _prepared(db)
    except (OSError, sqlite3.OperationalError):
        # A folder that this reader cannot write to, or a copy on a disk that nobody can.
        return _opened(None)


def _made(where: Path) -> None:
    """Have the file there, for the user that the log belongs to; raises OSError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        file = os.open(where, flags, 0o600)
    except PermissionError:
        where.unlink()  # one that somebody else left, root for example: nobody here could use it
        file = os.open(where, flags, 0o600)
    try:
        ours.give(file)
    finally:
        os.close(file)


def _prepared(db: sqlite3.Connection) -> sqlite3.Connection:
    with contextlib.suppress(sqlite3.DatabaseError):
        # What is lost is made again, so nothing waits for the disk.
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA journal_mode = MEMORY")
        if _version(db) != VERSION:
            with db:
                db.execute("BEGIN IMMEDIATE")
                # Two readers may have found it empty, or old; the second finds what the first made.
                if _version(db) != VERSION:
                    _make_tables(db)
    return db


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _make_tables(db: sqlite3.Connection) -> None:
    """Have the tables of this version in the place of all that are there."""
    old = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (name,) in old:
        quoted = name.replace('"', '""')
        db.execute(f'DROP TABLE "{quoted}"')
    for statement in _SCHEMA:
        db.execute(statement)
