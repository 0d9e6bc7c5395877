"""Whatever is done to the files of a log, `verify` names the first record that shows it.

The log is a real one: its first segments were removed by two people, others are compressed, and
the last is not.
"""

import contextlib
import gzip
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.audit.notes import CHECKPOINTS
from shared.audit.segments import Segment, lines, segments
from shared.audit.tombstones import read_start
from shared.audit.verifying import verify_folder
from shared.record.chain import line_of, link, split
from shared.record.checkpoint import notes_of
from shared.record.verify import Report
from tests.helpers.log_lines import write_calls
from tests.integration.scene import eventually
from tests.shared.audit.test_retention import opened, removed

CROSS = st.booleans()
FILES = settings(deadline=None)
Lines = list[bytes]


@dataclass(frozen=True)
class Log:
    """A log in a folder that stays as it is, and its lines by number."""

    folder: Path
    public: bytes
    parts: list[Segment]
    lines: Lines

    @property
    def first(self) -> int:
        """The first number that is left."""
        return self.parts[0].first

    @property
    def notes(self) -> list[str]:
        """Its checkpoints."""
        return list(notes_of((self.folder / CHECKPOINTS).read_text()))

    @property
    def sizes(self) -> list[int]:
        """How many records each of them vouches for."""
        return [int(note.split("\n")[1]) for note in self.notes]

    @contextlib.contextmanager
    def copied(self) -> Iterator[Path]:
        """Hand out a copy that may be changed."""
        with tempfile.TemporaryDirectory(prefix="log-") as place:
            yield Path(shutil.copytree(self.folder, Path(place) / "log"))

    def verified(self, changed: Callable[[Lines], Lines], cross: bool) -> Report:
        """Change a copy, lines counted from the first that is left, and look at it."""
        with self.copied() as copy:
            self.write(copy, changed(list(self.lines)))
            return verify_folder(copy, self.public, cross=cross)

    def write(self, folder: Path, changed: Lines) -> None:
        """Put lines in the place of those that are there, each segment as long as it was."""
        sizes = [after.first - one.first for one, after in pairwise(self.parts)]
        for number, part in enumerate(self.parts):
            size = sizes[number] if number < len(sizes) else len(changed)
            mine, changed = b"".join(changed[:size]), changed[size:]
            path = folder / part.path.name
            path.write_bytes(gzip.compress(mine) if part.compressed else mine)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def log(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Log]:
    made = await opened(tmp_path_factory.mktemp("doctored") / "log")
    await removed(made, 3)
    write_calls(made, 20, first=700)
    await eventually(lambda: all(each.compressed for each in segments(made.folder)[:-1]))
    made.close()
    parts = segments(made.folder)
    whole = [line for part in parts for line in lines(part.path)]
    assert parts[0].first > 0
    assert len(parts) > 5
    assert (parts[0].compressed, parts[-1].compressed) == (True, False)
    yield Log(made.folder, made.public, parts, whole)


def drawn(data: st.DataObject, log: Log) -> int:
    """Draw a line; those at the edges of segments are the ones to look at."""
    edges = [part.first - log.first + by for part in log.parts for by in (-1, 0)]
    every = st.integers(0, len(log.lines) - 1)
    return data.draw(every | st.sampled_from([*edges[1:], len(log.lines) - 1]))


def before_line(log: Log, at: int) -> bytes:
    """Return the hash that a line follows."""
    if at == 0:
        return read_start(log.folder).hash
    return bytes.fromhex(log.lines[at - 1][9:73].decode())


def vouched(log: Log, at: int) -> int:
    """Return the number of the first record up to a line that no checkpoint before it covers."""
    return max([log.first, *(each for each in log.sizes if each <= log.first + at)])


def test_it_is_believed_as_it_is(log: Log) -> None:
    notes = [note for note, size in zip(log.notes, log.sizes, strict=True) if size >= log.first]
    assert 0 < len(notes) < len(log.notes)
    for cross in (True, False):
        report = verify_folder(log.folder, log.public, notes, cross=cross)
        assert (report.ok, report.removed) == (True, log.first)
        assert report.signed == report.records == log.first + len(log.lines)
        # Those of removed records can be compared with nothing, though nothing else is wrong.
        every = verify_folder(log.folder, log.public, log.notes, cross=cross)
        assert (every.ok, every.first_bad) == (False, None)
        assert every.unchecked == max(size for size in log.sizes if size < log.first)
        assert every.signed == report.signed
    with log.copied() as copy:
        log.write(copy, log.lines)
        assert verify_folder(copy, log.public).ok


@FILES
@given(st.data(), CROSS)
def test_the_record_of_an_edit_is_named(log: Log, data: st.DataObject, cross: bool) -> None:
    """A03: any byte of any line."""
    at = drawn(data, log)
    line = log.lines[at]
    byte = data.draw(st.integers(0, len(line) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda each: each != line[byte]))

    def edit(found: Lines) -> Lines:
        found[at] = line[:byte] + bytes([value]) + line[byte + 1 :]
        return found

    report = log.verified(edit, cross)
    assert (report.ok, report.first_bad) == (False, log.first + at)


@FILES
@given(st.data(), st.integers(1, 60), CROSS)
def test_the_first_of_what_is_deleted_is_named(
    log: Log, data: st.DataObject, count: int, cross: bool
) -> None:
    """A04: within a segment and across some, and up to the end."""
    at = drawn(data, log)
    report = log.verified(lambda found: found[:at] + found[at + count :], cross)
    assert (report.ok, report.first_bad) == (False, log.first + at)


@FILES
@given(st.data(), CROSS)
def test_the_first_of_what_is_exchanged_is_named(
    log: Log, data: st.DataObject, cross: bool
) -> None:
    one, other = drawn(data, log), drawn(data, log)

    def swap(found: Lines) -> Lines:
        found[one], found[other] = found[other], found[one]
        return found

    report = log.verified(swap, cross)
    assert report.ok is (one == other)
    assert report.first_bad == (None if one == other else log.first + min(one, other))


@FILES
@given(st.data(), st.booleans(), CROSS)
def test_what_is_inserted_is_named(
    log: Log, data: st.DataObject, forged: bool, cross: bool
) -> None:
    """A line from elsewhere, or one that follows: what stood there does not follow it then."""
    at, which = drawn(data, log), drawn(data, log)
    record = split(log.lines[at])[1].replace(b'"v":1', b'"v":2')
    strange = line_of(link(before_line(log, at), record), record)
    inserted = strange if forged else log.lines[which]
    report = log.verified(lambda found: [*found[:at], inserted, *found[at:]], cross)
    assert not report.ok
    if not forged:
        # A line again where it stood already: the second of the two is the one too many.
        assert report.first_bad == log.first + at + (inserted == log.lines[at])
    else:
        # It follows, and what stood there does not follow it; unless nobody vouches for it.
        wanted = vouched(log, at) if log.first + at + 1 in log.sizes else log.first + at + 1
        assert report.first_bad == wanted


@FILES
@given(st.data(), CROSS)
def test_the_first_of_a_tail_that_is_gone_is_named(
    log: Log, data: st.DataObject, cross: bool
) -> None:
    """A04: by the checkpoints beside it, and by one that was kept elsewhere when they are gone."""
    at = drawn(data, log)
    size = log.first + at
    assert log.verified(lambda found: found[:at], cross).first_bad == size
    with log.copied() as copy:
        log.write(copy, log.lines[:at])
        kept = [note for note in log.notes if int(note.split("\n")[1]) <= size]
        (copy / CHECKPOINTS).write_text("".join(kept))
        report = verify_folder(copy, log.public, [log.notes[-1]], cross=cross)
        assert (report.ok, report.first_bad) == (False, size)


@FILES
@given(st.data(), CROSS)
def test_of_a_log_that_was_made_anew_the_first_that_nobody_vouches_for_is_named(
    log: Log, data: st.DataObject, cross: bool
) -> None:
    """A06: an edit with every hash after it computed again."""
    at = drawn(data, log)

    def anew(found: Lines) -> Lines:
        before = before_line(log, at)
        made = found[:at]
        for number, line in enumerate(found[at:]):
            record = split(line)[1]
            if number == 0:
                record = record.replace(b'"time":1', b'"time":2')
            before = link(before, record)
            made.append(line_of(before, record))
        return made

    report = log.verified(anew, cross)
    assert (report.ok, report.first_bad) == (False, vouched(log, at))


@FILES
@given(st.data(), CROSS)
def test_a_byte_of_a_compressed_segment_changes_nothing_or_is_found_in_it(
    log: Log, data: st.DataObject, cross: bool
) -> None:
    """A03: as the file lies there, compressed."""
    number = data.draw(st.integers(0, len(log.parts) - 2))
    part, after = log.parts[number], log.parts[number + 1]
    content = part.path.read_bytes()
    byte = data.draw(st.integers(0, len(content) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda each: each != content[byte]))
    with log.copied() as copy:
        path = copy / part.path.name
        path.write_bytes(content[:byte] + bytes([value]) + content[byte + 1 :])
        report = verify_folder(copy, log.public, cross=cross)
        if report.ok:  # what was changed is nothing that is read: a time, a name
            whole = gzip.decompress(content)
            assert b"".join(lines(path)) == whole
        else:
            assert report.first_bad is not None
            assert part.first <= report.first_bad <= after.first
