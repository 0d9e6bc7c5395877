"""What was done to a log is found, and named at the first record that shows it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.keys import PrivateKey
from shared.record import encode
from shared.record.chain import line_of, link
from shared.record.checkpoint import Checkpoint, CheckpointError, read_note, sign
from shared.record.model import TOMBSTONE
from shared.record.tree import Tree
from shared.record.verify import Start, verify
from tests.helpers.log_lines import (
    KEY,
    ORIGIN,
    chained,
    completion,
    intent,
    points_of,
    records_of,
)

RECORDS = records_of(20)
LINES = chained(RECORDS)
POINTS = points_of(LINES, 8)
AT = st.integers(0, len(LINES) - 1)
CROSS = st.booleans()


def forged(records: list[bytes]) -> list[bytes]:
    """A log written anew, with every hash right."""
    return chained(records)


def test_what_was_written_is_believed() -> None:
    for cross in (True, False):
        report = verify(LINES, POINTS, exported=POINTS[1:3], cross=cross)
        assert (report.ok, report.records, report.signed) == (True, 40, 40)
        assert (report.checkpoints, report.torn) == (5, False)
        assert report.as_dict()["ok"] is True
    assert verify([], []).ok


@given(AT, st.data(), CROSS)
def test_an_edit_is_named(at: int, data: st.DataObject, cross: bool) -> None:
    """A03: one byte of one record, of its hash, or of what is around them."""
    line = LINES[at]
    byte = data.draw(st.integers(0, len(line) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda each: each != line[byte]))
    changed = [*LINES[:at], line[:byte] + bytes([value]) + line[byte + 1 :], *LINES[at + 1 :]]
    # As it is read from a file: a changed newline joins two lines, a new one makes two.
    read = b"".join(changed).splitlines(keepends=True) if value == 10 else changed
    if byte == len(line) - 1 and at + 1 < len(LINES):
        read = [*LINES[:at], changed[at] + LINES[at + 1], *LINES[at + 2 :]]
    report = verify(read, POINTS, cross=cross)
    assert not report.ok
    assert report.first_bad == at


@given(AT, st.integers(1, 5), CROSS)
def test_what_is_deleted_is_named(at: int, count: int, cross: bool) -> None:
    """A04: from the middle, and from the end where a checkpoint says that there was more."""
    report = verify([*LINES[:at], *LINES[at + count :]], POINTS, cross=cross)
    assert not report.ok
    assert report.first_bad == at


@given(AT, AT, CROSS)
def test_what_is_exchanged_is_named(one: int, other: int, cross: bool) -> None:
    lines = list(LINES)
    lines[one], lines[other] = lines[other], lines[one]
    report = verify(lines, POINTS, cross=cross)
    assert report.ok is (one == other)
    assert report.first_bad == (None if one == other else min(one, other))


@given(AT, AT, CROSS)
def test_what_is_inserted_is_named(at: int, which: int, cross: bool) -> None:
    report = verify([*LINES[:at], LINES[which], *LINES[at:]], POINTS, cross=cross)
    # A line again where it stood already: the second of the two is the one too many.
    assert report.first_bad == (at + 1 if which == at else at)


@given(AT, st.sampled_from([b"", b"\n", b"{}\n", b"\0" * 50, b'{"hash":"']), CROSS)
def test_rubbish_is_named(at: int, rubbish: bytes, cross: bool) -> None:
    report = verify([*LINES[:at], rubbish + b"\n", *LINES[at:]], [], cross=cross)
    assert report.first_bad == at


@given(AT, CROSS)
def test_a_tail_that_is_cut_off_shows_against_an_exported_checkpoint(at: int, cross: bool) -> None:
    """A04: the newest files and the checkpoints beside the log are gone with it."""
    kept = [point for point in POINTS if point.size <= at]
    alone = verify(LINES[:at], kept, cross=cross)
    assert alone.first_bad is None
    report = verify(LINES[:at], kept, exported=[POINTS[-1]], cross=cross)
    assert (report.ok, report.first_bad) == (False, at)
    assert "the end is gone" in str(report.reason)


@given(st.integers(1, 100))
def test_half_a_line_at_the_end_is_torn_and_no_more(cut: int) -> None:
    lines = [*LINES[:-1], LINES[-1][:-cut]]
    report = verify(lines, [each for each in POINTS if each.size < len(LINES)])
    assert (report.ok, report.torn, report.records) == (True, True, len(LINES) - 1)
    assert verify(lines, POINTS).first_bad == len(LINES) - 1
    middle = [LINES[0][:-cut], *LINES[1:]]
    assert verify(middle, []).first_bad == 0


@given(AT)
def test_a_log_that_was_written_anew_is_not_what_was_signed(at: int) -> None:
    """A06: every hash is right; the checkpoint after the first change is not."""
    records = list(RECORDS)
    records[at] = records[at].replace(b'"v":1', b'"v":2')
    report = verify(forged(records), POINTS)
    vouched = max((each.size for each in POINTS if each.size <= at), default=0)
    assert (report.ok, report.first_bad, report.signed) == (False, vouched, vouched)
    assert "signed over other" in str(report.reason)


def test_a_log_that_was_written_anew_cannot_be_signed_anew() -> None:
    """A06: a checkpoint of another key is none, whoever's name it bears."""
    other = PrivateKey.generate()
    tree = Tree()
    tree.extend([bytes.fromhex(line[9:73].decode()) for line in LINES])
    note = sign(Checkpoint(ORIGIN, tree.size, tree.root()), other)
    with pytest.raises(CheckpointError):
        read_note(note, KEY.public)


def test_two_histories_that_were_signed_are_a_fork() -> None:
    """A07: a restored backup that went on differently, or a second writer."""
    went_on = [*RECORDS[:30], *(intent(seq, 900 + seq) for seq in range(30, 40))]
    fork = forged(went_on)
    theirs = points_of(fork, 8)
    report = verify(fork, theirs, exported=[POINTS[-1]])
    assert not report.ok
    assert "two histories" in str(report.reason)
    # Only one of the two is at hand.
    report = verify(fork, [], exported=[POINTS[3], POINTS[-1]])
    assert (report.ok, report.first_bad) == (False, 0)
    report = verify(fork, theirs[:3], exported=[POINTS[-1]])
    assert (report.ok, report.first_bad) == (False, 24)


def test_checkpoints_of_another_log_are_no_checkpoints_of_this_one() -> None:
    other = Checkpoint("elsewhere", POINTS[0].size, POINTS[0].root)
    assert not verify(LINES, [*POINTS, other]).ok


def test_a_writer_that_counted_wrong_is_named() -> None:
    for cross in (True, False):
        lines = forged([*RECORDS[:10], intent(11, 77), *RECORDS[11:]])
        assert verify(lines, [], cross=cross).first_bad == 10


def started() -> tuple[list[bytes], Start, list[bytes]]:
    """Return a log whose first 16 records are gone, where it goes on, and its tombstone."""
    tree = Tree()
    tree.extend([bytes.fromhex(line[9:73].decode()) for line in LINES[:16]])
    before = bytes.fromhex(LINES[15][9:73].decode())
    start = Start(16, before, tree.edge)
    facts = {"size": 16, "hash": before.hex(), "edge": [node.hex() for node in tree.edge]}
    record = encode.event(TOMBSTONE, {**facts, "approvers": ["ada", "eve"]}, len(LINES), 0)
    last = bytes.fromhex(LINES[-1][9:73].decode())
    return LINES[16:], start, [line_of(link(last, record), record)]


@pytest.mark.parametrize("cross", [True, False])
def test_a_log_goes_on_over_what_retention_removed(cross: bool) -> None:
    """A14: with the tombstone in the log, and not without."""
    lines, start, tombstone = started()
    report = verify([*lines, *tombstone], POINTS, start, cross=cross)
    assert (report.ok, report.removed, report.records, report.signed) == (True, 16, 41, 40)
    report = verify(lines, POINTS, start, cross=cross)
    assert (report.ok, report.first_bad) == (False, 0)
    assert "without a tombstone" in str(report.reason)
    wrong = Start(16, start.hash, (bytes(32),))
    assert not verify([*lines, *tombstone], POINTS, wrong, cross=cross).ok
    assert not verify([*lines, *tombstone], [], wrong, cross=cross).ok
    assert not verify([*lines, *tombstone], POINTS, Start(16, start.hash), cross=cross).ok


@pytest.mark.parametrize("cross", [True, False])
def test_a_checkpoint_of_what_was_removed_is_not_passed_over(cross: bool) -> None:
    """A14: kept elsewhere it is no proof any more; beside the log it counts for nothing."""
    lines, start, tombstone = started()
    kept, own = POINTS[0], POINTS[1:]
    report = verify([*lines, *tombstone], POINTS, start, exported=[kept], cross=cross)
    assert (report.ok, report.first_bad, report.unchecked) == (False, None, kept.size)
    assert report.as_dict()["unchecked"] == kept.size < start.size
    report = verify([*lines, *tombstone], POINTS, start, exported=own, cross=cross)
    assert (report.ok, report.unchecked, report.checkpoints) == (True, None, 4)
    assert report.removed_by == ["ada", "eve"]


def test_what_is_wrong_with_a_log_is_named_by_its_first_record() -> None:
    lines = chained([intent(0, 1), completion(1, 2, 0), completion(2, 3, 0)])
    fault = verify(lines, []).fault
    assert fault == (1, "ended without an intent: 000000000000feed.2")
    assert verify(lines, []).as_dict()["fault"] == f"record 1: {fault[1]}" == str(fault)
    edited = verify([*lines[:2], lines[2].replace(b'"v":1', b'"v":2')], []).fault
    assert edited == (2, "its hash does not follow from what is there")
    assert verify(LINES, POINTS).as_dict()["fault"] is verify(LINES, POINTS).fault is None


def test_what_is_open_is_said() -> None:
    lines = chained([intent(0, 1), intent(1, 2), completion(2, 1, 0)])
    report = verify(lines, [])
    assert report.ok
    assert list(report.open_intents.values()) == [1]
    assert verify(lines, [], cross=False).open_intents == {}


@pytest.mark.parametrize(
    "record",
    [
        b'{"kind":"x","seq":0,"time":1,"v":1,"v":1}',
        b'{"kind":"x","seq":1,"x":{"seq":0,"t":1},"time":1,"v":1}',
        b'{"seq":0,"time":1,"v":1}',
        b"{}",
    ],
)
def test_what_is_no_record_is_named_though_its_hash_is_right(record: bytes) -> None:
    assert verify(chained([record]), []).first_bad == 0


@given(st.lists(st.binary(max_size=120), max_size=6))
def test_any_bytes_are_a_log_or_not(lines: list[bytes]) -> None:
    for each in (lines, [*LINES[:3], *lines]):
        assert isinstance(verify(each, POINTS).as_dict(), dict)
