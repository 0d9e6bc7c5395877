"""The fixture passes the whole conformance suite, and the injector in front changes nothing."""

import pytest

from tests.helpers.conformance_suite import TOTALS, VERSIONS, compare, run_suite
from tests.helpers.fixture_process import http_fixture
from tests.helpers.header_injector import Target, header_injector

pytestmark = pytest.mark.system


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_fixture_passes_every_check_also_behind_the_injector(version: str) -> None:
    async with http_fixture() as url:
        direct = await run_suite(url, version)
        assert direct.not_passed() == {}
        assert (direct.passed, direct.failed) == (TOTALS[version], 0)

        async with header_injector(Target(url)) as behind:
            found = compare(direct, await run_suite(behind, version))
        assert found.unexpected == ()
