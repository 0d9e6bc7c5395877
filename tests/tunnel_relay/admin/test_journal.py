"""The journal holds what was written, whatever happened to the disk and the process since."""

import stat
from pathlib import Path

import pytest

from tunnel_relay.admin.journal import RESERVED, Journal, JournalError
from tunnel_relay.errors import Code, RelayError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pending.jsonl"


def test_lines_come_back_in_order_until_it_is_cleared(path: Path) -> None:
    journal = Journal(path)
    assert journal.read() == []
    assert journal.reserve()
    lines = [{"n": number, "text": "x" * number} for number in range(50)]
    for line in lines:
        journal.append(line)
    assert Journal(path).read() == lines
    journal.clear()
    assert journal.read() == []
    # Shorter than what lies behind it: the old lines must not come back.
    journal.append({"n": 1})
    assert journal.read() == [{"n": 1}]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_grows_beyond_the_room_that_was_laid_by(path: Path) -> None:
    journal = Journal(path)
    journal.reserve()
    assert path.stat().st_size == RESERVED
    for number in range(8):
        journal.append({"n": number, "text": "x" * (RESERVED // 4)})
    assert [line["n"] for line in journal.read()] == list(range(8))


def test_a_line_that_was_not_finished_is_left_out(path: Path) -> None:
    journal = Journal(path)
    journal.append({"n": 1})
    whole = path.read_bytes()
    journal.append({"n": 2})
    both = path.read_bytes().rstrip(b"\0")
    for end in range(len(whole) - 1, len(both)):
        path.write_bytes(both[:end])
        assert journal.read() == [{"n": 1}]
    path.write_bytes(both.replace(b'"n": 2', b'"n": 3'))
    assert journal.read() == [{"n": 1}], "a damaged line"
    journal.append({"n": 4})
    assert journal.read() == [{"n": 1}, {"n": 4}]


def test_a_journal_that_others_could_write_is_not_believed(path: Path) -> None:
    path.write_bytes(b"")
    path.chmod(0o660)
    journal = Journal(path)
    with pytest.raises(RelayError) as caught:
        journal.read()
    assert caught.value.code is Code.FILE_UNSAFE
    with pytest.raises(JournalError):
        journal.append({})
    path.unlink()
    path.symlink_to(path.with_name("elsewhere"))
    with pytest.raises(JournalError):
        journal.append({})


def test_it_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunnel_relay.admin.journal.MAX_BYTES", 1000)
    journal = Journal(path)
    for _ in range(8):
        journal.append({"text": "x" * 100})
    with pytest.raises(JournalError, match="full"):
        journal.append({"text": "x" * 100})
    assert len(journal.read()) == 8
