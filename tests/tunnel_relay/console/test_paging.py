"""Long listings come in pages."""

import pytest

from tunnel_relay.console.paging import PAGE, page_of

ROWS = [{"name": f"Row{number:03}", "roles": ["user"]} for number in range(2 * PAGE + 1)]


@pytest.mark.parametrize(
    ("asked", "number"),
    [
        ("", 1),
        ("1", 1),
        ("2", 2),
        ("3", 3),
        ("4", 3),
        ("0", 1),
        ("-1", 1),
        ("x", 1),
        ("9" * 40, 1),
        ("\xb2", 1),
    ],
)
def test_the_page_that_is_asked_for_or_the_nearest(asked: str, number: int) -> None:
    page = page_of(ROWS, "", asked, ("name",))
    assert (page.number, page.pages, page.total) == (number, 3, len(ROWS))
    assert page.rows[0] == ROWS[(number - 1) * PAGE]
    assert len(page.rows) == (1 if number == 3 else PAGE)


def test_rows_are_found_by_what_they_hold() -> None:
    assert page_of(ROWS, " row10 ", "", ("name",)).total == 1
    assert page_of(ROWS, "row100", "", ("roles",)).total == 0
    assert page_of(ROWS, "USER", "7", ("name", "roles")).total == len(ROWS)
    nothing = page_of([], "", "", ("name",))
    assert (nothing.rows, nothing.pages) == ([], 1)
