"""The file of checkpoints."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.audit.notes import append_note, cut_torn, last_note, read_points, read_text
from shared.keys import PrivateKey
from shared.record.checkpoint import Checkpoint, notes_of, sign
from tests.helpers.disks import fill, small_disk
from tests.helpers.log_lines import KEY, ORIGIN

POINTS = [Checkpoint(ORIGIN, size, bytes(32)) for size in range(1, 4)]
NOTES = [sign(point, KEY) for point in POINTS]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "256k") as disk:
        yield disk


def test_notes_are_kept_in_order(tmp_path: Path) -> None:
    assert (last_note(tmp_path), read_text(tmp_path)) == (None, "")
    for note in NOTES:
        append_note(tmp_path, note)
    assert last_note(tmp_path) == NOTES[-1]
    assert read_points(notes_of(read_text(tmp_path)), KEY.public) == (POINTS, None)


def test_a_note_of_another_key_is_said_to_be_none(tmp_path: Path) -> None:
    """A06."""
    append_note(tmp_path, NOTES[0])
    append_note(tmp_path, sign(POINTS[1], PrivateKey.generate()))
    points, fault = read_points(notes_of(read_text(tmp_path)), KEY.public)
    assert points == POINTS[:1]
    assert "did not sign" in str(fault)


def test_a_note_is_added_whole_or_not_at_all(small: Path) -> None:
    """A08: a disk that takes half of it."""
    append_note(small, NOTES[0])
    with pytest.raises(OSError, match="No space left"):
        append_many(small)
    assert read_text(small).endswith(NOTES[1])
    whole = list(notes_of(read_text(small)))
    assert set(whole[1:]) == {NOTES[1]}
    fill(small)
    assert last_note(small) == NOTES[1]


def append_many(folder: Path) -> None:
    for _ in range(10_000):
        append_note(folder, NOTES[1])


@pytest.mark.parametrize("cut", range(1, 150, 7))
def test_half_a_note_is_cut_off(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "checkpoints"
    whole = (NOTES[0] + NOTES[1]).encode()
    path.write_bytes(whole + NOTES[2].encode()[:-cut])
    cut_torn(tmp_path)
    assert path.read_bytes() == whole
    cut_torn(tmp_path)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("torn", ["", NOTES[1][:100], NOTES[1][:-1], "x" * 40_000, "x\n" * 20_000])
@pytest.mark.parametrize("before", [0, 1, 300, 301])
def test_the_newest_note_is_found_at_the_end_however_long_the_file_is(
    tmp_path: Path, before: int, torn: str
) -> None:
    path = tmp_path / "checkpoints"
    whole = "".join([NOTES[0]] * before + [NOTES[2]]).encode()
    path.write_bytes(whole + torn.encode())
    assert last_note(tmp_path) == NOTES[2]
    cut_torn(tmp_path)
    assert path.read_bytes() == whole


def test_only_the_end_of_the_file_is_read(tmp_path: Path) -> None:
    """A log of many years starts as fast as a new one; here the years are a hole."""
    path, years = tmp_path / "checkpoints", 1 << 42
    path.touch()
    os.truncate(path, years)
    notes = "".join(NOTES * 100)
    with path.open("ab") as file:
        file.write((notes + NOTES[0][:50]).encode())
    cut_torn(tmp_path)
    assert path.stat().st_size == years + len(notes.encode())
    assert last_note(tmp_path) == NOTES[2]
