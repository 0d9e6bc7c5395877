"""Which link a call waits for, and how long a client that cannot be told may go on."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import anyio
import pytest_asyncio

from shared.errors import CloseCode, ResetCode
from shared.keys import PrivateKey
from shared.link.transport import CUT
from shared.wire.codec import OpenHead, encode_open
from shared.wire.limits import LinkLimits
from tests.shared.link.ends import Lane
from tunnel_relay.clients.grants import LinkGrants
from tunnel_relay.clients.link import Link
from tunnel_relay.clients.registry import Registry
from tunnel_relay.store.base import Session

LEASE = 30.0
HEAD = encode_open(OpenHead("server", "POST", "a" * 32, "", []))


class Nowhere:
    """A transport that takes everything."""

    writable = True

    def __init__(self) -> None:
        self.handler: Any = None

    def send(self, message: bytes) -> None:
        pass

    def close(self, code: int, reason: str) -> None:
        pass

    def abort(self) -> None:
        pass


def a_session(upstream: str) -> Session:
    return Session("a" * 32, b"digest", "ada", "claude", "office", upstream, 0.0, 60.0, 60.0, 0.0)


def joined(registry: Registry, instance: str, process: str = "", slot: int = 0) -> Link:
    """Make a link that offers the server."""
    made = Link(registry, "office", instance * 32, 1, process, slot)
    made.grants = LinkGrants(made, PrivateKey.generate(), lambda _user: ())
    made.attach(cast(Any, Nowhere()), LinkLimits(), "y" * 16)
    registry.add(made)
    made.on_catalog(["server"])
    return made


@pytest_asyncio.fixture
async def link() -> AsyncIterator[Link]:
    registry = Registry(LEASE, closed_seconds=5.0)
    made = Link(registry, "office", "0" * 32, 1)
    made.grants = LinkGrants(made, PrivateKey.generate(), lambda _user: ())
    made.attach(cast(Any, Nowhere()), LinkLimits(max_streams=1), "x" * 16)
    registry.add(made)
    made.on_catalog(["server"])
    yield made
    made.driver.close(1000, "the test is over")


async def test_a_call_that_waits_for_a_full_link_gets_it_when_there_is_room(link: Link) -> None:
    registry, driver = link._registry, link.driver
    stream = driver.request(HEAD, b"{}", Lane(driver))
    assert registry.find("office", "server") is None
    waiting = asyncio.ensure_future(registry.wait("office", "server", None, 30.0))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    driver.reset(stream, ResetCode.CANCELLED)
    with anyio.fail_after(10):
        assert await waiting is link


async def test_every_link_is_counted_once_however_it_is_replaced(link: Link) -> None:
    registry = link._registry

    def join(instance: str, process: str, slot: int) -> Link:
        made = Link(registry, "office", instance * 32, 1, process * 16, slot)
        made.grants = LinkGrants(made, PrivateKey.generate(), lambda _user: ())
        made.attach(cast(Any, Nowhere()), LinkLimits(), "y" * 16)
        registry.add(made)
        assert len(registry) == len(registry.of_tunnel("office"))
        return made

    assert len(registry) == 1
    join("0", "a", 0)  # in the place of the one that was there
    assert len(registry) == 1
    drains, beside = join("0", "a", 1), join("0", "a", 2)
    assert len(registry) == 3
    drains.driver.drain("moves")
    join("0", "a", 1)
    join("1", "b", 0)
    assert len(registry) == 5
    registry.remove(beside, CUT)
    registry.remove(beside, CUT)
    assert len(registry) == 4
    join("0", "c", 0)  # a new process, in the place of all
    assert len(registry) == 2
    registry.close_all(CloseCode.GOING_AWAY, "the test is over")
    assert len(registry) == 0 == len(registry.of_tunnel("office"))


async def test_a_call_looks_once_more_when_its_time_is_over(link: Link) -> None:
    assert await link._registry.wait("office", "elsewhere", None, 0.01) is None
    assert await link._registry.wait("office", "server", None, 0.0) is link


async def test_a_client_whose_link_owes_an_answer_comes_after_one_that_is_heard() -> None:
    registry = Registry(LEASE)
    silent, heard = joined(registry, "0"), joined(registry, "1")
    assert registry.find("office", "server") is silent
    silent.watch.doubted = True
    heard.driver.request(HEAD, b"{}", Lane(heard.driver))
    assert registry.find("office", "server") is heard
    assert registry.find("office", "server", silent.instance) is silent


async def test_a_client_whose_upstream_was_not_reachable_comes_after_others() -> None:
    registry = Registry(LEASE)
    down, well = joined(registry, "0"), joined(registry, "1")
    down.refused(ResetCode.UPSTREAM_BROKE, a_session("server"))
    assert registry.find("office", "server") is down
    down.refused(ResetCode.UPSTREAM_UNREACHABLE, a_session("server"))
    well.driver.request(HEAD, b"{}", Lane(well.driver))
    well.watch.doubted = True
    assert registry.find("office", "server") is well
    assert registry.find("office", "server", down.instance) is down  # whose MCP sessions it has
    well.driver.transport_lost(CloseCode.NORMAL, "it left")
    assert registry.find("office", "server") is down  # nobody else could do it


async def test_another_upstream_of_that_client_is_not_avoided() -> None:
    registry = Registry(LEASE)
    down, _ = joined(registry, "0"), joined(registry, "1")
    down.refused(ResetCode.UPSTREAM_UNREACHABLE, a_session("elsewhere"))
    assert registry.find("office", "server") is down


async def test_a_call_waits_for_a_client_that_was_cut_and_for_none_that_stops(link: Link) -> None:
    """Nothing of its process is left, whichever of its links says so first."""
    registry, mine = link._registry, ("office", "server", link.instance)
    beside = joined(registry, "0", process="", slot=1)
    link.driver.transport_lost(CUT, "the connection broke")
    waiting = asyncio.ensure_future(registry.wait(*mine, 30.0))
    beside.driver.transport_lost(CUT, "the connection broke")
    await asyncio.sleep(0.05)
    assert not registry.gone(*mine)
    assert not waiting.done()
    beside.driver.close(CloseCode.GOING_AWAY, "the client stops")
    with anyio.fail_after(10):
        assert await waiting is None
    assert registry.gone(*mine)
    joined(registry, "0", process="anew")
    assert not registry.gone(*mine)


async def test_a_client_that_may_not_connect_any_more_is_gone_at_once() -> None:
    dropped: set[str] = set()
    registry = Registry(LEASE, may_connect=lambda _, instance: instance not in dropped)
    made = joined(registry, "0")
    mine = "office", "server", made.instance
    made.driver.transport_lost(CUT, "the connection broke")
    assert not registry.gone(*mine)
    dropped.add(made.instance)
    assert registry.gone(*mine)
    assert await registry.wait(*mine, 30.0) is None


async def test_a_client_that_was_cut_may_go_on_for_its_lease_since_the_cut(link: Link) -> None:
    """What the relay heard last says nothing of what the client heard."""
    await asyncio.sleep(0.3)
    link.driver.transport_lost(1006, "the connection broke")
    assert link.driver.detached
    revoking = link._registry.revoke([("office", "a-session")])
    (told,) = await revoking.answers(1.0)
    assert LEASE - 0.1 <= told["lease"] <= LEASE
