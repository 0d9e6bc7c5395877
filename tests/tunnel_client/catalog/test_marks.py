"""changed.json: what changed is read back; what is broken is refused and never taken for empty."""

from pathlib import Path
from typing import Any

import pytest

from tests.tunnel_client.catalog.broken import BROKEN, put
from tunnel_client.catalog.marks import FILE_NAME, Marks, read_marks
from tunnel_client.catalog.pins import Approval
from tunnel_client.errors import StateWriteError, UnsafeFileError
from tunnel_client.errors_upstreams import BrokenPinsError

MARK = Approval("a" * 64, 7)
TABLE = {("desk", "add"): MARK, ("mail", "send"): Approval("b" * 64, 8)}


def test_what_changed_is_read_back_from_a_private_file(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    assert marks.table == {}
    marks.save(TABLE)
    assert read_marks(tmp_path) == TABLE
    assert Marks(tmp_path).of("desk") == {"add": MARK}
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_what_the_file_says_already_is_not_written_again(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    marks.save({})
    assert not (tmp_path / FILE_NAME).exists()
    marks.save(TABLE)
    before = (tmp_path / FILE_NAME).stat().st_ino
    marks.save(dict(TABLE))
    assert (tmp_path / FILE_NAME).stat().st_ino == before


def test_a_folder_that_cannot_be_written_is_told_and_tried_again(tmp_path: Path) -> None:
    marks = Marks(tmp_path / "state")
    with pytest.raises(StateWriteError):
        marks.save(TABLE)
    (tmp_path / "state").mkdir()
    marks.save(TABLE)
    assert read_marks(tmp_path / "state") == TABLE


def mangled(change: dict[str, Any], tool: str = "t") -> dict[str, Any]:
    entry = {key: value for key, value in (MARK._asdict() | change).items() if value is not ...}
    return {"version": 1, "upstreams": {"desk": {tool: entry}}}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        *BROKEN,
        ({"version": 1, "upstreams": {"desk": []}}, "not an object"),
        ({"version": 1, "upstreams": {"desk": {"t": 7}}}, "not an approval"),
        (mangled({"more": 1}), "not an approval"),
        (mangled({"pinned": ...}), "not an approval"),
        (mangled({"pinned": True}), "the name or the time"),
        (mangled({}, "t" * 1025), "the name or the time"),
        (mangled({"sha256": 7}), "64 hex digits"),
        (mangled({"sha256": "x"}), "64 hex digits"),
    ],
)
def test_a_broken_file_is_refused_with_its_name_and_the_reason(
    tmp_path: Path, content: Any, why: str
) -> None:
    path = tmp_path / FILE_NAME
    put(path, content)
    with pytest.raises(BrokenPinsError, match=why) as caught:
        Marks(tmp_path)
    assert str(path) in caught.value.cause
    # Moving it away alone would trust again what nobody looked at.
    assert "it and pins.json away" in caught.value.next


def test_a_file_others_could_change_is_refused(tmp_path: Path) -> None:
    Marks(tmp_path).save(TABLE)
    (tmp_path / FILE_NAME).chmod(0o644)
    with pytest.raises(UnsafeFileError, match="open to others"):
        read_marks(tmp_path)
    (tmp_path / FILE_NAME).rename(tmp_path / "away")
    (tmp_path / FILE_NAME).symlink_to(tmp_path / "away")
    with pytest.raises(UnsafeFileError, match="symbolic link"):
        read_marks(tmp_path)
