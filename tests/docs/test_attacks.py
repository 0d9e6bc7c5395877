"""The table of attacks in docs/security.md names tests that exist."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
TEXT = (TESTS.parent / "docs" / "security.md").read_text(encoding="utf-8")
TABLE = TEXT.partition("## Which test shows it")[2]
ROWS = dict(re.findall(r"^\| ([SUHTCPALR]\d\d) \| (.+) \|$", TABLE, re.MULTILINE))
SESSIONS = (1, 2, 3, 5, *range(7, 14), 15, 16, *range(18, 22), 23, 24, *range(26, 31))
USERS = (1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 13, 14, 15, 16, 17, 18, 19, 20, 21)
POLICIES = (1, 2, *range(4, 8), *range(9, 21), *range(22, 42))
AUDITS = (1, 2, 3, 4, *range(6, 16), 17, 19, 20, 21, 22)
HAVE_TO = {f"S{n:02}" for n in SESSIONS} | {f"U{n:02}" for n in USERS}
HAVE_TO |= {f"P{n:02}" for n in POLICIES} | {"T31", "T32", "T33"}
HAVE_TO |= {f"C{n:02}" for n in (1, 2, 3, 5, 6, 9, 10, *range(12, 23))}
HAVE_TO |= {f"L{n:02}" for n in (*range(1, 7), 8, 9, 10, *range(12, 19))}
HAVE_TO |= {f"R{n:02}" for n in (*range(1, 9), 10, 12, 13, 14)}
HAVE_TO |= {f"A{n:02}" for n in AUDITS}


def test_no_row_is_left_out() -> None:
    assert set(ROWS) >= HAVE_TO
    assert list(ROWS) == sorted(ROWS, key=lambda row: ("SUHTCPALR".index(row[0]), row))


@pytest.mark.parametrize("row", ROWS)
def test_every_test_that_is_named_is_there(row: str) -> None:
    for place in ROWS[row].split("; "):
        file, _, tests = place.partition(": ")
        source = (TESTS / file).read_text(encoding="utf-8")
        for test in tests.split(", "):
            assert re.search(rf"^ *(?:async )?def {test}\(", source, re.MULTILINE), (file, test)
