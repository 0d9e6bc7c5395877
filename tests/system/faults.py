"""The fault table on the real programs: each row breaks something and holds what came of it.

    python -m tests.system.faults [--rows R3,R6] [--write-doc]

Exit code 0 when every bound was kept, 1 when one was missed or a row failed. A row that this
machine cannot run says why and misses nothing.
"""

import argparse
import asyncio
import datetime
import importlib
import os
import sys
import time
import traceback
from pathlib import Path

import anyio
import pytest

from tests.system.fault_rows.table import ROWS, Line, Row, cells, merged, not_run, number

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
MODULES = ("killed", "network", "slow", "many", "failing", "lasting", "rolling")
MOST_SECONDS = float(os.environ.get("ROW_SECONDS", "900")) + float(os.environ.get("SOAK", "0"))
"""Longest that one row may take, a soak of hours included."""


def load() -> dict[str, Row]:
    """Return the table, its rows in order."""
    for name in MODULES:
        importlib.import_module(f"tests.system.fault_rows.{name}")
    return {name: ROWS[name] for name in sorted(ROWS, key=number)}


async def attempt(found: Row) -> list[Line]:
    """Run one row; what goes wrong in it is a bound that was missed."""
    try:
        with anyio.fail_after(MOST_SECONDS):
            return await found.act()
    except pytest.skip.Exception as error:
        return [not_run(str(error))]
    except Exception as error:  # noqa: BLE001 - the other rows are still to be run
        traceback.print_exc()
        said = f"{type(error).__name__}: {error}"[:200]
        return [Line("the row itself", "runs to its end", said, False)]


def tell(found: Row, line: Line) -> None:
    """Print one figure as it comes."""
    verdict = {True: "held  ", False: "MISSED", None: "      "}[line.held]
    print(f"{found.name:<4}{verdict} {line.what}: {line.figure}  [{line.bound}]", flush=True)


def run(names: list[str], write: bool) -> bool:
    """Run these rows; returns whether every bound was kept."""
    kept = True
    table = load()
    for found in [table[name] for name in names or table]:
        print(f"{found.name:<4}{found.fault}", flush=True)
        began = time.monotonic()
        lines = asyncio.run(attempt(found))
        for line in lines:
            tell(found, line)
        kept = kept and all(line.held is not False for line in lines)
        print(f"{found.name:<4}took {time.monotonic() - began:.1f} s", flush=True)
        if write:  # after each row: a run that is ended early keeps what it has
            today = datetime.datetime.now(datetime.UTC).date().isoformat()
            told = {found.name: cells(found, lines, today)}
            DOCUMENT.write_text(merged(DOCUMENT.read_text(), told))
    return kept


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="Run the fault table.")
    parser.add_argument("--rows", default="", help="some of them, as R3,R6")
    parser.add_argument("--write-doc", action="store_true", help="into docs/reliability.md")
    asked = parser.parse_args()
    names = [name for name in asked.rows.split(",") if name]
    unknown = set(names) - set(load())
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    sys.exit(0 if run(names, asked.write_doc) else 1)


if __name__ == "__main__":
    main()
