"""The conformance suite through the tunnel, check by check the same as without it."""

import pytest

from tests.helpers.conformance_suite import TOTALS
from tests.helpers.fixture_process import http_fixture
from tests.system.conformance import ROWS, compare_row, direct_runs, honest

pytestmark = pytest.mark.system


async def test_every_check_of_every_version_is_the_same_through_the_tunnel() -> None:
    async with http_fixture() as url:
        direct = await direct_runs(url)
        # A fixture that fails by itself would make any hop look good.
        assert [(run.passed, run.failed) for run in direct.values()] == [
            (TOTALS[version], 0) for version in direct
        ]
        assert all(honest(run) for run in direct.values())
        for row in ROWS.values():
            for found in await compare_row(row, url, direct):
                assert found.agrees, (row.name, found.direct.version, found.unexpected)
