"""What no checkpoint vouches for is young, or it must have been signed by now."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.record import encode
from shared.record.model import CHANGED, CLOSED, OPENED
from shared.record.unsigned import MAX_RECORDS, MAX_SECONDS, Unsigned
from shared.record.verify import verify
from tests.helpers.log_lines import chained, intent, points_of

SECOND = 1_000_000
EVERY = range(0, (MAX_SECONDS + 10) * SECOND, SECOND)
"""Times of records that somebody wrote all the while."""


def events(times: Iterable[int], kind: str = "test") -> list[bytes]:
    return [encode.event(kind, {}, seq, now) for seq, now in enumerate(times)]


def why(records: Iterable[bytes]) -> str | None:
    found = Unsigned()
    for record in records:
        found.see(record)
    return found.why


def test_what_was_written_for_minutes_must_have_been_signed() -> None:
    within = events(range(0, MAX_SECONDS * SECOND + 1, SECOND))
    assert why(within) is None
    assert why(events(EVERY)) == f"they were written in more than {MAX_SECONDS} seconds"


def test_what_is_more_than_a_slow_disk_leaves_must_have_been_signed() -> None:
    records = [intent(0, 1)] * MAX_RECORDS
    assert why(records) is None
    assert why([*records, intent(0, 1)]) == f"they are more than {MAX_RECORDS}"


@pytest.mark.parametrize("kind", [CLOSED, CHANGED])
def test_who_gives_a_log_back_signs_it(kind: str) -> None:
    """The last one may have been killed before it had."""
    one = [*events([1, 2], OPENED), *events([3], kind)]
    assert why(one) is None
    assert why([*one, *events([4], OPENED)]) is not None


@pytest.mark.parametrize("pause", [60, 86_400, 400 * 86_400])
def test_a_pause_is_no_time_in_which_something_was_written(pause: int) -> None:
    """A machine that slept, a disk that was full; and a clock that was put back and forth."""
    last = pause * SECOND
    assert why(events([0, SECOND, last, last + 5 * SECOND])) is None
    assert why(events([last, 0, last, 0])) is None
    assert why([encode.event("test", {"kind_": CLOSED, "x": {"kind": CLOSED}}, 0, 1)] * 2) is None


@given(st.lists(st.binary(max_size=40)))
def test_any_bytes_are_looked_at(records: list[bytes]) -> None:
    assert why(records) is None


@pytest.mark.parametrize("cross", [True, False])
def test_a_log_without_its_checkpoints_is_not_proven(cross: bool) -> None:
    """A06: written anew without the key, and the checkpoints taken away. No fault: see above."""
    lines = chained(events(EVERY))
    points, last = points_of(lines, 50), len(lines) - 1
    report = verify(lines, [], cross=cross)
    assert (report.ok, report.fault, report.signed) == (False, None, 0)
    assert report.as_dict()["unproven"] == report.unproven
    assert report.unproven == (
        f"no checkpoint vouches for records 0 to {last}, which must have been signed by now:"
        f" they were written in more than {MAX_SECONDS} seconds"
    )
    for given_ in (points, points[-1:]):
        report = verify(lines, given_, cross=cross)
        assert (report.ok, report.unproven) == (True, None)
    assert verify(lines, [], exported=points[-1:], cross=cross).ok


@pytest.mark.parametrize("cross", [True, False])
def test_only_what_is_behind_the_newest_checkpoint_has_to_be_young(cross: bool) -> None:
    lines = chained(events(EVERY))
    points = points_of(lines, 10)
    report = verify(lines, points[1:2], cross=cross)
    assert (report.ok, report.unproven) == (True, None)
    later = chained(events(range(0, (2 * MAX_SECONDS) * SECOND, SECOND)))
    report = verify(later, points[1:2], cross=cross)
    assert report.ok is False
    assert "records 20 to 239," in str(report.unproven)


def test_a_fault_comes_first() -> None:
    lines = chained(events(EVERY))
    report = verify([*lines[:-2], lines[-1]], [])
    assert (report.first_bad, report.ok) == (len(lines) - 2, False)
