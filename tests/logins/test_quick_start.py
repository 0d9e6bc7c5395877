"""Agents log their user in at a relay that was set up by the README's own lines."""

import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.helpers.browser import Browser, browser
from tests.helpers.fixture_process import http_fixture
from tests.logins.matrix import Person
from tests.logins.quick_start import USER, Reader, lines, quick_start
from tests.logins.test_matrix import attended
from tests.system.first_call import AS_SOMEBODY, StepError

pytestmark = [
    pytest.mark.system,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(
        os.geteuid() == 0 and subprocess.call([*AS_SOMEBODY, "true"]) != 0,
        reason="root cannot be somebody else here: no user namespaces",
    ),
]
FIRST = "python-sdk"
LATER = [pytest.param(name, marks=pytest.mark.slow) for name in ("fastmcp", "ts-v2", "inspector")]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        # It has authorities of its own; ours is none of them.
        opened.driver.execute_cdp_cmd("Security.setIgnoreCertificateErrors", {"ignore": True})
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reader() -> AsyncIterator[Reader]:
    async with http_fixture() as upstream:
        with tempfile.TemporaryDirectory(prefix="home-") as folder:
            somebody = Reader(Path(folder), "")
            try:
                await somebody.follow(upstream)
                yield somebody
            finally:
                await somebody.leaves()


class Desk(Person):
    """The user's desk: its programs know the certificate's authority."""

    def __init__(self, browser: Browser, reader: Reader, folder: Path) -> None:
        super().__init__(browser, USER, folder)
        self._authority = str(reader.home / "authority.pem")

    def environment(self, home: Path) -> dict[str, str]:
        """Return what makes a program open its pages with us."""
        known = {"SSL_CERT_FILE": self._authority, "NODE_EXTRA_CA_CERTS": self._authority}
        return super().environment(home) | known


@pytest.mark.parametrize("name", [FIRST, *LATER])
async def test_an_agent_logs_in_at_a_relay_of_the_readme(
    chromium: Browser, reader: Reader, name: str, tmp_path: Path
) -> None:
    before = {each["id"] for each in await reader.sessions()}
    steps = await attended(Desk(chromium, reader, tmp_path), name, reader.url, tmp_path)
    mine = [each for each in await reader.sessions() if each["id"] not in before]
    assert len(mine) == steps
    assert {(each["user"], each["door"]) for each in mine} == {(USER, "oauth")}
    assert sum(each["calls"] for each in mine) >= 2


async def test_a_line_that_the_page_does_not_have_is_not_typed(reader: Reader) -> None:
    assert "tunnel-relay serve" in lines(quick_start())
    with pytest.raises(StepError, match="the README has no"):
        await reader.says("tunnel-relay serve --loud")
