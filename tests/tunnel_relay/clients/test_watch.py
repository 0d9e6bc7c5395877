"""Calls and a link that fell silent: two links of a client over real sockets, seen by the relay."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
import pytest_asyncio

from shared.errors import ResetCode
from shared.keys import PrivateKey
from shared.link.driver import LinkDriver
from shared.wire.limits import LinkLimits
from shared.wire.mux import Role
from tests.shared.link.ends import Lane, Owner, Recorder, Sockets, sockets, until
from tunnel_relay.clients.grants import LinkGrants
from tunnel_relay.clients.link import Link
from tunnel_relay.clients.registry import Registry
from tunnel_relay.clients.watch import LEFT_SECONDS, is_left

LIMITS = LinkLimits()


@dataclass
class End:
    """A link, and the client's end of it, which answers no call and every PING."""

    link: Link
    sockets: Sockets

    def dies(self) -> None:
        """Have the client answer nothing from now on; the connection stays."""
        self.sockets.client.handler = Recorder()

    def later(self, seconds: float) -> None:
        """Let so much time pass without a word."""
        keepalive = self.link.driver.keepalive
        keepalive.last_heard -= seconds
        keepalive.asked_at -= seconds

    def doubted(self) -> bool:
        return self.link.watch.doubted

    def left(self) -> bool:
        return self.link.driver.detached

    def watched(self) -> bool:
        return self.link.watch.on

    @property
    def owes(self) -> bool:
        return self.link.driver.keepalive.owed_for(self.link.driver.keepalive.asked_at + 1) > 0

    async def quiet(self) -> None:
        """Wait until the client has answered all that it was asked, then let time pass."""
        driver = self.link.driver
        await until(lambda: driver.round_trip and not driver._round_trips.few and not self.owes)
        self.later(10.0)

    def calls(self) -> Lane:
        """Send a call as the gateway does."""
        driver = self.link.driver
        if not self.link.watch.on:
            self.link.watch.begin()
        lane = Lane(driver)
        lane.id = driver.request(b"head", b"{}", lane)
        return lane


async def an_end(registry: Registry, slot: int, limits: LinkLimits, stack: AsyncExitStack) -> End:
    ends = await stack.enter_async_context(sockets())
    link = Link(registry, "office", "0" * 32, slot + 1, "p" * 32, slot)
    link.grants = LinkGrants(link, PrivateKey.generate(), lambda _user: ())
    link.attach(ends.server, limits, "x" * 16)
    owner = Owner()
    owner.driver = LinkDriver(ends.client, Role.CLIENT, limits, owner, "x" * 16)
    registry.add(link)
    link.on_catalog(["server"])
    for driver in (link.driver, owner.driver):
        stack.callback(driver.transport_lost, 1000, "the test is over")
    return End(link, ends)


@pytest_asyncio.fixture
async def two() -> AsyncIterator[tuple[End, End]]:
    registry = Registry(30.0)
    async with AsyncExitStack() as stack:
        made = [await an_end(registry, slot, LIMITS, stack) for slot in (0, 1)]
        for end in made:
            await end.quiet()
        yield made[0], made[1]


def found(end: End) -> Link | None:
    return end.link._registry.find("office", "server")


async def test_an_upstream_that_takes_long_is_no_silence(two: tuple[End, End]) -> None:
    first, _ = two
    first.calls()
    first.link.watch.look()
    assert first.owes
    await until(lambda: not first.owes)
    first.later(60.0)
    first.link.watch.look()
    first.link.watch.look()
    assert not first.doubted()
    assert found(first) is first.link


async def test_calls_go_round_a_link_that_owes_an_answer_until_it_is_heard(
    two: tuple[End, End],
) -> None:
    first, second = two
    client = first.sockets.client.handler
    first.dies()
    first.calls()
    first.link.watch.look()
    assert found(first) is first.link  # it was asked only now
    first.later(1.5)
    first.link.watch.look()
    assert found(first) is second.link
    second.link.watch.doubted = True
    assert found(first) is first.link  # nothing is better
    first.sockets.client.handler = client
    first.link.driver.ask()
    await until(lambda: not first.owes)
    first.link.watch.look()
    assert not first.doubted()


async def test_a_silent_connection_is_left_where_another_is_heard(two: tuple[End, End]) -> None:
    first, second = two
    first.dies()
    lane = first.calls()
    first.link.watch.look()
    first.later(LEFT_SECONDS + 1)
    first.link.watch.look()
    assert not first.left()  # nobody knows of the other one yet
    assert second.link.driver.keepalive.last_heard < first.link.driver.keepalive.asked_at
    heard = second.link.driver.keepalive.last_heard
    await until(lambda: second.link.driver.keepalive.last_heard > heard)
    first.link.watch.look()
    assert first.left()
    assert lane.resets == []  # it goes on when the link does
    assert not first.watched()


async def test_a_client_that_is_silent_on_every_link_is_waited_for(two: tuple[End, End]) -> None:
    for end in two:
        end.dies()
    first, _ = two
    first.calls()
    first.link.watch.look()
    first.later(LEFT_SECONDS + 1)
    for _ in range(3):
        first.link.watch.look()
    assert first.doubted()
    assert not first.left()


async def test_a_link_without_calls_is_not_looked_at(two: tuple[End, End]) -> None:
    first, _ = two
    lane = first.calls()
    assert first.watched()
    first.link.driver.reset(lane.id, ResetCode.CANCELLED)
    first.link.watch.look()
    assert not first.watched()
    assert not first.owes


@pytest.mark.parametrize(
    ("owed", "resumable", "others_heard", "left"),
    [
        (LEFT_SECONDS, True, True, True),
        (LEFT_SECONDS - 0.1, True, True, False),
        (60.0, True, False, False),  # it is the client that is silent
        (60.0, False, True, False),  # its calls would fail
    ],
)
def test_a_connection_is_left_when_that_costs_nothing(
    owed: float, resumable: bool, others_heard: bool, left: bool
) -> None:
    assert is_left(owed, resumable=resumable, others_heard=others_heard) is left
