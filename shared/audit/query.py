"""Finds records in the files of a log; nothing is executed, and nothing of the log is changed."""

import contextlib
import re
import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from shared.audit.index import COLUMNS, DAMAGE, MAX_WORD, Index, Words
from shared.audit.indexing import index_path
from shared.audit.private import AuditError
from shared.audit.segments import Blocks, Segment
from shared.audit.tombstones import kept
from shared.escape import is_text
from shared.record.chain import MAX_LINE, RECORD_AT
from shared.record.model import RecordError, parse

MAX_PAGE = 10_000
UNREADABLE = "unreadable"
"""Stands for a line that is no record, or not the one that should be there."""
MAX_OPEN = 64
"""Indexes that a question has open in files: often all that a process may open is 1,024."""
_LAST = 2**63 - 1
"""The largest number that an index can be asked for: no record has one beyond it."""
_NAMING = ("records", "named")
"""Tables of an index that name sessions."""
_T = TypeVar("_T")
BY_BEGINNING = frozenset({"kind", "session"})
"""What is found by how it begins as well: `call.` finds every kind of call."""
_VOUCHED = re.compile(r"([^ #]+://[^ #]+)([ #])(.+)", re.DOTALL)
NAMED = frozenset({"user", "session"})
"""What a record may name several of: whom it is about and who did it, or sessions cut together."""


class WantedError(AuditError):
    """What is looked for stands in no record, whatever the log."""


class Wanted(NamedTuple):
    """What is looked for; None: it does not matter. Times in microseconds since 1970.

    `server` is an upstream, or `TUNNEL/UPSTREAM`: then records that name another tunnel do not fit.
    """

    kind: str | None = None
    user: str | None = None
    agent: str | None = None
    session: str | None = None
    server: str | None = None
    tool: str | None = None
    tool_class: str | None = None
    decision: str | None = None
    result: str | None = None
    call: str | None = None
    since: int | None = None
    until: int | None = None

    def words(self) -> dict[str, str]:
        """Return what is asked by words, by column."""
        asked = {each: getattr(self, "tool_class" if each == "class" else each) for each in COLUMNS}
        return {column: word for column, word in asked.items() if word is not None}

    def checked(self) -> Self:
        """Return it with times that an index can be asked for; raises WantedError."""
        words = self.words()
        for name, word in {**words, "call": self.call or ""}.items():
            if not is_text(word):
                raise WantedError(f"{name}: give text in UTF-8")
            if len(word) > MAX_WORD and name in words:
                raise WantedError(f"{name}: give at most {MAX_WORD} characters")
        return self._replace(since=_held(self.since), until=_held(self.until))


class Page(NamedTuple):
    """Records in order of the question, and what to ask for next; None: that was all."""

    records: list[dict[str, Any]]
    cursor: int | None


class Query:
    """A log that questions are asked of; use it as a context, for one question or for many.

    `indexes`: where indexes lie; left out, beside the log.
    """

    def __init__(self, folder: Path, indexes: Path | None = None) -> None:
        self._folder = folder
        self._indexes = indexes or folder
        self._open: dict[int, Index] = {}
        """By first record; the one that was asked last stands last."""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.callback(self._close)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def page(
        self,
        wanted: Wanted,
        *,
        limit: int = 100,
        after: int | None = None,
        before: int | None = None,
        newest: bool = False,
    ) -> Page:
        """Return a page of what fits, the oldest or the `newest` first; raises AuditError.

        `after` and `before` are numbers of records that are not wanted any more: the cursor of the
        page before is `after` when the oldest come first, else `before`.
        """
        wanted, after, before = wanted.checked(), _held(after), _held(before)
        limit = max(1, min(limit, MAX_PAGE))
        parts = self._parts()
        found: list[dict[str, Any]] = []
        for segment in self._worth(parts, after, before, newest):
            found += self._fit(segment, wanted, limit + 1 - len(found), (after, before), newest)
            if len(found) > limit:
                return Page(found[:limit], found[limit - 1]["seq"])
        return Page(found, None)

    def all(self, wanted: Wanted, *, after: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield whatever fits, the oldest first; raises AuditError."""
        cursor = after
        while True:
            page = self.page(wanted, limit=1000, after=cursor)
            yield from page.records
            if page.cursor is None:
                return
            cursor = page.cursor

    def sessions(self, begins: str) -> list[str]:
        """Return the ids of sessions that begin so, or just this one; raises AuditError."""
        Wanted(session=begins).checked()
        found: set[str] = set()
        parts = self._parts()
        for segment in parts:
            index = self._index(segment)
            ids = ",".join(map(str, _ids(index.db, begins, begins=True)))
            texts = [f"SELECT session FROM {each} WHERE session IN ({ids})" for each in _NAMING]  # noqa: S608
            words = f"SELECT word FROM words WHERE id IN ({' UNION '.join(texts)})"  # noqa: S608
            found |= {word for (word,) in index.db.execute(words)} if ids else set()
            if begins in found:
                return [begins]
        whole: list[str] = []
        for each in sorted(found, reverse=True):
            # Older clients called a session that was cut by how it begins: that is no other one.
            if not whole or not whole[-1].startswith(each):
                whole.append(each)
        return whole[::-1]

    def _parts(self) -> list[Segment]:
        _, parts = kept(self._folder)
        if not parts:
            raise AuditError(f"no log in {self._folder}")
        return parts

    def _worth(
        self, parts: list[Segment], after: int | None, before: int | None, newest: bool
    ) -> list[Segment]:
        ends = [each.first for each in parts[1:]] + [None]
        worth = [
            segment
            for segment, end in zip(parts, ends, strict=True)
            if (after is None or end is None or end > after + 1)
            and (before is None or segment.first < before)
        ]
        return worth[::-1] if newest else worth

    def _fit(
        self,
        segment: Segment,
        wanted: Wanted,
        limit: int,
        bounds: tuple[int | None, int | None],
        newest: bool,
    ) -> list[dict[str, Any]]:
        """Return what fits of a segment: no index has the tunnel, so that is looked at here."""
        found: list[dict[str, Any]] = []
        while len(found) < limit:
            some = self._of(segment, wanted, limit - len(found), bounds, newest)
            found += (each for each in some if _is_behind(each, wanted.server))
            if not some:
                break
            seen = some[-1]["seq"]
            bounds = (bounds[0], seen) if newest else (seen, bounds[1])
        return found

    def _of(
        self,
        segment: Segment,
        wanted: Wanted,
        limit: int,
        bounds: tuple[int | None, int | None],
        newest: bool,
    ) -> list[dict[str, Any]]:
        index = self._index(segment)
        question = partial(_found, index, wanted, limit, bounds, newest)
        with contextlib.suppress(*DAMAGE):
            found = question()
            if all(each["kind"] != UNREADABLE for each in found):
                return found
        # Of the index or of the log, something is damaged: the log is asked again.
        with _readable(index):
            index.make_anew()
            self._settle(index)
            return question()

    def _index(self, segment: Segment) -> Index:
        """Return the index of a segment, to be asked for anything."""
        index = self._made(segment)
        self._settle(index)
        return index

    def _settle(self, index: Index) -> None:
        # Those it inherits from may be many: it is not among them, nor closed to make room.
        self._open.pop(index.segment.first, None)
        try:
            _asked(index, lambda: index.settle(self._inherited))
        finally:
            self._keep(index)

    def _made(self, segment: Segment) -> Index:
        """Return the index of a segment, which may owe its completions what others say."""
        before = self._open.pop(segment.first, None)
        if before is not None:
            if segment.compressed and before.segment.compressed:
                self._open[segment.first] = before
                return before
            before.close()
        index = _new(segment, index_path(self._indexes, segment.first))
        self._keep(index)
        return index

    def _keep(self, index: Index) -> None:
        """Have an index open for the next question, and close whichever was not asked for long."""
        self._open[index.segment.first] = index
        # What is in memory takes no descriptor, and would have to be made anew.
        filed = [each for each in self._open.values() if each.filed]
        for each in filed[:-MAX_OPEN]:
            self._open.pop(each.segment.first).close()

    def make_index(self, segment: Segment, where: Path) -> None:
        """Make the index of a segment in a file; raises AuditError, OSError."""
        index = _new(segment, where)
        try:
            _asked(index, lambda: index.settle(self._inherited))
        finally:
            index.close()

    def _inherited(self, intents: Iterable[int]) -> dict[int, Words]:
        """Return what earlier segments say of records: of intents, which owe nothing."""
        _, parts = kept(self._folder)
        firsts = [each.first for each in parts]
        said: dict[int, Words | None] = {}
        for at, some in groupby(sorted(intents), lambda seq: bisect_right(firsts, seq)):
            if at:  # else retention has removed it
                index = self._made(parts[at - 1])
                said |= _asked(index, partial(_words_of, index, list(some)))
        return {seq: words for seq, words in said.items() if words is not None}


def _new(segment: Segment, where: Path) -> Index:
    try:
        return Index(segment, where)
    except (sqlite3.DatabaseError, OSError) as error:
        raise AuditError(f"no index of {segment.path}: {error}") from None


def _words_of(index: Index, seqs: Iterable[int]) -> dict[int, Words | None]:
    return {seq: index.words_of(seq) for seq in seqs}


def _asked(index: Index, question: Callable[[], _T]) -> _T:
    """Return what an index answers; one that is damaged is made anew. Raises AuditError."""
    with contextlib.suppress(*DAMAGE):
        return question()
    with _readable(index):
        index.make_anew()
        return question()


@contextlib.contextmanager
def _readable(index: Index) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        raise AuditError(f"the index of {index.segment.path} cannot be read: {error}") from None


def _held(number: int | None) -> int | None:
    """Return the nearest number that SQLite can hold: it refuses others, and no record has one."""
    return None if number is None else max(-_LAST, min(number, _LAST))


def _found(
    index: Index,
    wanted: Wanted,
    limit: int,
    bounds: tuple[int | None, int | None],
    newest: bool,
) -> list[dict[str, Any]]:
    rows = _ask(index, wanted, limit, bounds, newest)
    if not rows:
        return []
    with Blocks(index.segment.path) as blocks:
        return [_record(blocks.line(at, min(length, MAX_LINE)), seq) for seq, at, length in rows]


def _ask(
    index: Index,
    wanted: Wanted,
    limit: int,
    bounds: tuple[int | None, int | None],
    newest: bool,
) -> list[tuple[int, int, int]]:
    after, before = bounds
    terms: list[str] = []
    values: list[object] = []
    for column, word in wanted.words().items():
        ids = _ids(index.db, word, begins=column in BY_BEGINNING)
        if column == "user":
            ids += _ids(index.db, _spelled_otherwise(word), begins=False)
        if column == "server" and "/" in word:
            ids += _ids(index.db, word.partition("/")[2], begins=False)
        if not ids:
            return []
        listed = ",".join(map(str, ids))
        term = f'"{column}" IN ({listed})'
        also = f'SELECT seq FROM named WHERE "{column}" IN ({listed})'  # noqa: S608
        # Most segments have none, and then no record need be looked for among them.
        if column in NAMED and index.db.execute(f"{also} LIMIT 1").fetchone():
            term = f"({term} OR seq IN ({also}))"
        terms.append(term)
    for term, value in (
        *(("call = ?", wanted.call), ("time >= ?", wanted.since), ("time < ?", wanted.until)),
        *(("seq > ?", after), ("seq < ?", before)),
    ):
        if value is not None:
            terms.append(term)
            values.append(value)
    low, high = index.low, index.high
    if low is None or (wanted.since is not None and high < wanted.since):
        return []
    if wanted.until is not None and low >= wanted.until:
        return []
    where = f"WHERE {' AND '.join(terms)}" if terms else ""
    order = "DESC" if newest else "ASC"
    text = f"SELECT seq, at, length FROM records {where} ORDER BY seq {order} LIMIT ?"  # noqa: S608
    return index.db.execute(text, (*values, limit)).fetchall()


def _ids(db: sqlite3.Connection, word: str, *, begins: bool) -> list[int]:
    text, values = "SELECT id FROM words WHERE word = ?", [word]
    if begins and word:
        text, values = "SELECT id FROM words WHERE substr(word, 1, ?) = ?", [len(word), word]  # type: ignore[list-item]
    return [row[0] for row in db.execute(text, values)]


def _spelled_otherwise(user: str) -> str:
    """Return issuer and subject with the other mark between; empty for any other name.

    Records hold them as a key of the relay's, or apart: those are shown with a space between.
    """
    found = _VOUCHED.fullmatch(user)
    return "" if found is None else found[1] + (" " if found[2] == "#" else "#") + found[3]


def _is_behind(record: Mapping[str, Any], server: str | None) -> bool:
    """Tell whether a record is of `TUNNEL/UPSTREAM`; one that names no tunnel could be."""
    if server is None or "/" not in server:
        return True
    what = record.get("what")
    said = what if isinstance(what, Mapping) else record
    return said.get("tunnel", record.get("tunnel")) in (None, server.partition("/")[0])


def _record(line: bytes, seq: int) -> dict[str, Any]:
    """Return a record as it stands in the log; the index only says where."""
    try:
        found = parse(line[RECORD_AT:-2])
    except RecordError:
        found = {}
    if found.get("seq") != seq:
        return {"seq": seq, "time": 0, "kind": UNREADABLE, "v": 0}
    return found
