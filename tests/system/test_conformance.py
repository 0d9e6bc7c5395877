"""The conformance suite through the tunnel, check by check the same as without it."""

from collections.abc import Sequence

import pytest

from tests.helpers.conformance_suite import TOTALS, VERSIONS
from tests.helpers.fixture_process import http_fixture
from tests.system.conformance import ROWS, Row, compare_row, direct_runs, honest

pytestmark = pytest.mark.system


async def check_is_the_same(rows: Sequence[Row], versions: Sequence[str]) -> None:
    async with http_fixture() as url:
        direct = await direct_runs(url, versions)
        # A fixture that fails by itself would make any hop look good.
        assert [(run.passed, run.failed) for run in direct.values()] == [
            (TOTALS[version], 0) for version in versions
        ]
        assert all(honest(run) for run in direct.values())
        for row in rows:
            for found in await compare_row(row, url, direct):
                assert found.agrees, (row.name, found.direct.version, found.unexpected)


@pytest.mark.parametrize(("row", "version"), [("http", "2025-11-25"), ("stdio", "2026-07-28")])
async def test_every_check_is_the_same_through_the_tunnel(row: str, version: str) -> None:
    """The last version with MCP sessions, and the newest, which one process serves over stdio."""
    await check_is_the_same([ROWS[row]], [version])


@pytest.mark.slow
async def test_every_check_of_every_version_is_the_same_through_every_hop() -> None:
    await check_is_the_same(list(ROWS.values()), VERSIONS)
