"""Whoever changes a log, in whatever way, is found, and the first bad record is named."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.audit.chain import START, line_of, link, split
from shared.audit.files import segments
from shared.audit.private import AuditError
from shared.audit.verify import verify
from shared.keys import PrivateKey
from tests.shared.audit.logs import written

COUNT = 40


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    import asyncio

    folder = tmp_path_factory.mktemp("made") / "log"
    return folder, asyncio.run(written(folder, COUNT))


def copy(made: Path, to: Path) -> Path:
    to.mkdir(exist_ok=True)
    for path in made.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def lines(folder: Path) -> list[bytes]:
    return segments(folder)[0][1].read_bytes().splitlines(keepends=True)


def put(folder: Path, changed: list[bytes]) -> None:
    segments(folder)[0][1].write_bytes(b"".join(changed))


CHANGES = ("edit", "delete", "swap", "insert", "truncate", "rewrite")


@given(st.sampled_from(CHANGES), st.integers(0, COUNT - 2), st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_change_is_found_at_its_first_record(
    made: tuple[Path, bytes], tmp_path: Path, change: str, at: int, data: st.DataObject
) -> None:
    """A03, A04, A06: edited, deleted, swapped, inserted, cut off, or all made anew."""
    original, key = made
    folder = copy(original, tmp_path / "copy")
    found = lines(folder)
    if change == "edit":
        where = data.draw(st.integers(0, len(found[at]) - 2))
        flipped = bytes([found[at][where] ^ 1])
        found[at] = found[at][:where] + flipped + found[at][where + 1 :]
    elif change == "delete":
        del found[at]
    elif change == "swap":
        found[at], found[at + 1] = found[at + 1], found[at]
    elif change == "insert":
        found.insert(at, found[at + 1])
    elif change == "truncate":
        del found[at + 1 :]
    else:
        records = [split(line)[1] for line in found]
        records[at] = records[at].replace(b'"number"', b'"Number"')
        found, before = [], START
        for record in records:
            before = link(before, record)
            found.append(line_of(before, record))
    put(folder, found)
    report = verify(folder, key)
    assert not report.ok
    assert report.first_bad is not None
    if change == "rewrite":
        assert report.first_bad <= at  # between two checkpoints nobody can tell which
    else:
        assert report.first_bad == (at + 1 if change == "truncate" else at)


def test_a_checkpoint_from_elsewhere_finds_what_was_cut_off_with_its_own(
    made: tuple[Path, bytes], tmp_path: Path
) -> None:
    """A04: the tail, and the checkpoints that speak of it."""
    original, key = made
    folder = copy(original, tmp_path / "copy")
    text = (folder / "checkpoints").read_text()
    newest = text[text.rindex("test/log\n41\n") :]
    put(folder, lines(folder)[:12])
    first = text[: text.index("test/log\n21\n")]
    (folder / "checkpoints").write_text(first)
    assert verify(folder, key).ok
    report = verify(folder, key, newest)
    assert (report.ok, report.first_bad) == (False, 12)


def test_another_key_vouches_for_nothing(made: tuple[Path, bytes], tmp_path: Path) -> None:
    folder = copy(made[0], tmp_path / "copy")
    assert not verify(folder, PrivateKey.generate().public).ok


def test_a_torn_end_is_told_and_is_no_fault(made: tuple[Path, bytes], tmp_path: Path) -> None:
    folder = copy(made[0], tmp_path / "copy")
    (folder / "checkpoints").unlink()
    found = lines(folder)
    put(folder, [*found[:-1], found[-1][:-20]])
    report = verify(folder, made[1])
    assert (report.ok, report.torn, report.records) == (True, True, COUNT)
    with pytest.raises(AuditError, match="no log"):
        verify(tmp_path, made[1])
