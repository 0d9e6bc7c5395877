"""Discovery, login in a real browser, list, call: each agent does it by itself."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest
import pytest_asyncio

from tests.helpers.browser import Browser, browser
from tests.helpers.fixture_process import http_fixture
from tests.helpers.login import PASSWORD
from tests.helpers.tunnel import TUNNEL, HttpUpstream, Lab, make_lab
from tests.logins.matrix import DEADLINE, TOOL, Person, agents, last_json, run

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    def prepare(lab: Lab) -> None:
        lab.environment["TUNNEL_RELAY_OAUTH__DYNAMIC_REGISTRATION"] = "true"

    async with (
        http_fixture() as url,
        make_lab({"server": HttpUpstream(url)}, prepare=prepare) as made,
    ):
        yield made


@pytest.mark.parametrize("name", ["python-sdk", "fastmcp", "ts-v2", "inspector"])
async def test_an_agent_logs_its_user_in_through_a_browser(
    chromium: Browser, lab: Lab, name: str, tmp_path: Path
) -> None:
    secret = tmp_path / "password"
    secret.write_text(PASSWORD + "\n")
    words = ("--server", f"{TUNNEL}/server", "--password-file", str(secret))
    await lab.relay_command("user", "add", name, *words)
    agent = agents()[name]
    person = Person(chromium, name, tmp_path)
    environment = person.environment(tmp_path)
    told = []
    with anyio.fail_after(2 * DEADLINE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(person.attend)
            for step in agent.steps:
                done = await run(step, lab.url("server"), environment)
                assert done.code == 0, (done.errors[-2000:], done.output[-500:])
                told.append(last_json(done.output))
            tasks.cancel_scope.cancel()
    if name == "inspector":
        listed, answer = (each.get("result", each) for each in told)
        tools, failed = [tool["name"] for tool in listed["tools"]], answer.get("isError", False)
    else:
        tools, failed = told[0]["tools"], told[0]["failed"]
    assert TOOL in tools
    assert not failed
    # The inspector, without a keychain, forgets its login between two commands.
    assert person.logins == len(agent.steps)
    sessions = (await lab.relay_json("session", "list"))["sessions"]
    mine = [each for each in sessions if each["user"] == name]
    assert len(mine) == len(agent.steps)
    assert {each["door"] for each in mine} == {"oauth"}
    assert sum(each["calls"] for each in mine) >= 2
