"""Discovery, login in a real browser, list, call: each agent does it by itself."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
import pytest_asyncio

from tests.helpers.browser import Browser, browser
from tests.helpers.fixture_process import http_fixture
from tests.helpers.login import PASSWORD
from tests.helpers.tunnel import TUNNEL, HttpUpstream, Lab, make_lab
from tests.integration.test_issuer import World, make_world
from tests.logins.matrix import DEADLINE, TOOL, Employee, Person, agent, last_json, run

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


# An environment of its own with 35 packages takes longer than all the rest here.
FASTMCP = pytest.param("fastmcp", marks=pytest.mark.slow)
AGENTS = ["python-sdk", FASTMCP, "ts-v2", "inspector"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    async with make_world() as made:
        yield made


async def attended(person: Person, name: str, url: str, folder: Path) -> int:
    """Let an agent do all its steps; returns how many there were."""
    acting, told = await anyio.to_thread.run_sync(agent, name), []
    environment = person.environment(folder)
    with anyio.fail_after(2 * DEADLINE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(person.attend)
            for step in acting.steps:
                done = await run(step, url, environment)
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
    assert person.logins == len(acting.steps)
    return len(acting.steps)


@pytest.mark.parametrize("name", AGENTS)
async def test_an_agent_logs_its_user_in_through_a_browser(
    chromium: Browser, lab: Lab, name: str, tmp_path: Path
) -> None:
    secret = tmp_path / "password"
    secret.write_text(PASSWORD + "\n")
    words = ("--server", f"{TUNNEL}/server", "--password-file", str(secret))
    await lab.relay_command("user", "add", name, *words)
    steps = await attended(Person(chromium, name, tmp_path), name, lab.url("server"), tmp_path)
    sessions = (await lab.relay_json("session", "list"))["sessions"]
    mine = [each for each in sessions if each["user"] == name]
    assert len(mine) == steps
    assert {each["door"] for each in mine} == {"oauth"}
    assert sum(each["calls"] for each in mine) >= 2


@pytest.mark.parametrize("name", AGENTS)
async def test_an_agent_logs_its_user_in_at_the_organisations_provider(
    chromium: Browser, world: World, name: str, tmp_path: Path
) -> None:
    person = Employee(chromium, name, tmp_path)
    await attended(person, name, world.lab.url("server"), tmp_path)
    mine = await world.sessions(f"{name}+ops")
    assert len(mine) == 1
    assert {each["door"] for each in mine} == {"issuer"}
