"""A slice of the fault table for CI; `make faults` runs all of it."""

import anyio
import pytest

from tests.system.fault_rows.table import END, START, Line, cells, merged
from tests.system.faults import attempt, load

pytestmark = pytest.mark.system


async def relay_killed() -> list[Line]:
    with anyio.fail_after(120):
        return await attempt(load()["R1"])


async def test_a_relay_that_is_killed_leaves_nothing_behind() -> None:
    """How soon that is known a machine that does much beside it cannot tell."""
    lines = [line for line in await relay_killed() if not line.bound.startswith("<=")]
    assert [line for line in lines if line.held is False] == []
    assert sum(line.held is True for line in lines) == 2


@pytest.mark.slow
async def test_who_called_a_relay_that_is_killed_knows_soon_and_is_served_again() -> None:
    lines = await relay_killed()
    assert [line for line in lines if line.held is False] == []
    assert sum(line.held is True for line in lines) == 4


def test_rows_that_did_not_run_stay_in_the_document() -> None:
    table, line = load(), Line("what", "<= 1 s", "0.1 s", True)
    document = f"before\n{START}\n{END}\nafter\n"
    for name in ("R3", "R1", "R3"):
        document = merged(document, {name: cells(table[name], [line], "2026-01-01")})
    rows = [text for text in document.splitlines() if text.startswith("| R")]
    assert [text[2:4] for text in rows] == ["R1", "R3"]
    assert document.startswith("before\n")
    assert document.endswith("\nafter\n")
