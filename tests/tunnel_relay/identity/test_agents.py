"""Agents nobody registered: how they become known, and how little a stranger can cause."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.tunnel_relay.identity.document_host import DOCUMENT, served, whole
from tests.tunnel_relay.making import an_admin
from tunnel_relay.admin.service import Admin
from tunnel_relay.identity import documents
from tunnel_relay.identity.agents import WAITING_OF_ADDRESS, AgentFinder
from tunnel_relay.identity.requests import RequestError
from tunnel_relay.settings import OAuth
from tunnel_relay.store.base import AgentKind

ADDRESS = "192.0.2.1"
LOCAL = {"document_hosts": ("LOCALHOST",)}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def finding(
    folder: Path, trust: ssl.SSLContext, **oauth: Any
) -> AsyncIterator[tuple[AgentFinder, Admin, Clock]]:
    async with an_admin(folder) as admin:
        clock = Clock()
        yield AgentFinder(admin, OAuth(**oauth), lambda: trust, clock), admin, clock


async def refused(finder: AgentFinder, url: str, address: str = ADDRESS) -> RequestError:
    with pytest.raises(RequestError) as caught:
        await finder.find(url, address)
    return caught.value


async def test_a_document_is_fetched_once_and_believed_for_a_while(tmp_path: Path) -> None:
    async with (
        served(whole) as (url, trust, asked),
        finding(tmp_path, trust, **LOCAL) as (finder, admin, clock),
    ):
        for _ in range(3):
            agent = await finder.find(url, ADDRESS)
        assert (agent.kind, agent.name) == (AgentKind.DOCUMENT, "An agent")
        assert list(agent.redirect_uris) == DOCUMENT["redirect_uris"]
        assert len(asked) == 1
        assert admin.directory.agents == {}
        clock.now += 301
        await finder.find(url, ADDRESS)
        assert len(asked) == 2


async def test_a_failure_is_not_tried_again_at_once(tmp_path: Path) -> None:
    broken = b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"
    async with (
        served(lambda _: broken) as (url, trust, asked),
        finding(tmp_path, trust, **LOCAL) as (finder, _, clock),
    ):
        for _ in range(3):
            assert (await refused(finder, url)).error == "invalid_client"
        assert len(asked) == 1
        clock.now += 31
        await refused(finder, url)
        assert len(asked) == 2


async def test_a_stranger_makes_us_fetch_little(tmp_path: Path) -> None:
    async with (
        served(whole) as (url, trust, asked),
        finding(tmp_path, trust, **LOCAL) as (finder, _, _clock),
    ):
        for number in range(20):
            await refused(finder, f"{url}?{number}")
        limited = await refused(finder, f"{url}?20")
        assert (limited.error, len(asked)) == ("slow_down", 20)
        assert limited.wait > 0
        assert await finder.find(url, "192.0.2.2")


async def test_only_few_wait_for_documents(tmp_path: Path) -> None:
    async with (
        served(whole) as (url, trust, _),
        finding(tmp_path, trust, **LOCAL) as (finder, _admin, _clock),
    ):
        errors = []

        async def find(number: int) -> None:
            errors.append((await refused(finder, f"{url}?{number}", f"198.51.100.{number}")).error)

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for number in range(30):
                    tasks.start_soon(find, number)
        assert errors.count("slow_down") == 14


async def test_r04_hosts_that_are_slow_on_purpose_hold_up_nobody_elses_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One address names documents that never come; another's is fetched meanwhile."""
    monkeypatch.setattr(documents, "DEADLINE", 3600.0)
    never = anyio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await never.wait()
        writer.close()

    async with (
        served(whole) as (url, trust, _),
        finding(tmp_path, trust, **LOCAL) as (finder, _admin, _clock),
    ):
        silent = await asyncio.start_server(slow, "127.0.0.1", 0)
        where = f"https://localhost:{silent.sockets[0].getsockname()[1]}/agent"
        outcomes = []

        async def stall(number: int) -> None:
            outcomes.append((await refused(finder, f"{where}?{number}", "192.0.2.66")).error)

        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(stall, number)
            while len(outcomes) < 10 - WAITING_OF_ADDRESS:
                await anyio.lowlevel.checkpoint()
            assert set(outcomes) == {"slow_down"}
            with anyio.fail_after(30):
                assert await finder.find(url, "192.0.2.1")
            never.set()
            silent.close()
        assert outcomes.count("invalid_client") == WAITING_OF_ADDRESS


async def test_documents_may_be_off_for_those_that_are_known_too(tmp_path: Path) -> None:
    async with served(whole) as (url, trust, asked):
        async with finding(tmp_path, trust, **LOCAL) as (finder, admin, _):
            await finder.keep(await finder.find(url, ADDRESS))
            assert finder.known(url).id == url
            off = AgentFinder(admin, OAuth(metadata_documents=False), lambda: trust)
            await refused(off, url)
            with pytest.raises(RequestError):
                off.known(url)
        assert len(asked) == 1


async def test_what_changes_in_a_document_is_stored_and_what_an_admin_decided_stays(
    tmp_path: Path,
) -> None:
    names = ["Before", "After"]

    def answer(url: str) -> bytes:
        return whole(url, client_name=names.pop(0))

    async with (
        served(answer) as (url, trust, _),
        finding(tmp_path, trust, **LOCAL) as (finder, admin, clock),
    ):
        await finder.keep(await finder.find(url, ADDRESS))
        clock.now += 301
        newer = await finder.find(url, ADDRESS)
        await admin.agent_disable(url)
        await finder.keep(newer)
        assert admin.directory.agents[url].name == "After"
        assert admin.directory.active_agent(url) is None
        assert (await refused(finder, url)).error == "invalid_client"
        with pytest.raises(RequestError):
            finder.known(url)


async def test_an_agent_switched_off_while_it_is_stored_stays_off(tmp_path: Path) -> None:
    """S29."""
    async with (
        served(whole) as (url, trust, _),
        finding(tmp_path, trust, **LOCAL) as (finder, admin, _clock),
    ):
        agent = await finder.find(url, ADDRESS)
        await finder.keep(agent)
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(admin.put_agent, agent)
                tasks.start_soon(admin.agent_disable, url)
        assert admin.directory.active_agent(url) is None
        (stored,) = await admin.store.agents()
        assert stored.disabled is not None


async def test_every_agent_can_be_locked_by_its_identifier(tmp_path: Path) -> None:
    async with (
        served(whole) as (url, trust, _),
        finding(tmp_path, trust, **LOCAL) as (finder, admin, _clock),
    ):
        longest = url + "?" + "x" * (199 - len(url))
        assert (await refused(finder, longest)).text.endswith("its client_id is not its own URL")
        await admin.lock_add("agent", longest, "a test")


async def test_an_agent_that_registered_itself_waits_a_day_for_a_consent(tmp_path: Path) -> None:
    trust = ssl.create_default_context()
    async with finding(tmp_path, trust) as (finder, admin, clock):
        agent = finder.register({"redirect_uris": ["http://127.0.0.1/cb"]}, ADDRESS)
        assert await finder.find(agent.id, ADDRESS) == agent
        with pytest.raises(RequestError):
            finder.known(agent.id)
        clock.now += 86_401
        await refused(finder, agent.id)
        await finder.keep(agent)
        assert finder.known(agent.id) == agent
        assert set(admin.directory.agents) == {agent.id}
