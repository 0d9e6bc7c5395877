"""A link that is let in at an awkward moment, and a relay with more handshakes than it takes."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace

import anyio
import pytest

from shared.keys import PrivateKey
from shared.wire.frames import FrameType
from shared.wire.handshake import encode
from shared.wire.limits import MAX_MESSAGE_BYTES, LinkLimits
from tests.helpers.raw_link import (
    BINARY,
    BROKE,
    Member,
    RawLink,
    dialled,
    joined,
    upgrade_lines,
    upgraded,
    ws_frame,
)
from tests.helpers.upstream_peer import eventually
from tunnel_relay.admin.admission import Admission
from tunnel_relay.clients.listen import LinkListener
from tunnel_relay.clients.registry import Registry
from tunnel_relay.store.base import Verdict

pytestmark = pytest.mark.asyncio

MOST = 4
LINKS = 6
TOO_MANY_REQUESTS = 429
UNAVAILABLE = 503
TOO_BIG = 1009
NO_DEADLINE = 600.0
PLACE = "tunnel_relay.clients.handshakes"


async def _admitted(_tunnel: str, _instance: str, _counter: int) -> Admission:
    return Admission(Verdict.ADMITTED)


class Relay:
    """Takes in the links of one member, `MOST` handshakes at a time."""

    def __init__(self, admit: Callable[[str, str, int], Awaitable[Admission]] = _admitted) -> None:
        self.member = Member()
        self.registry = Registry(30.0)
        self.port = 0
        self.listener: LinkListener
        self._admit = admit

    @asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        """Listen in the block."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.port = listening.getsockname()[1]
            self.listener = LinkListener(
                key=PrivateKey.generate(),
                origins=frozenset([self.origin]),
                registry=self.registry,
                find_key=self._find_key,
                admit=self._admit,
                groups_of=lambda _user: (),
                limits=LinkLimits(),
                deadline=NO_DEADLINE,
                most=(LINKS, LINKS),
                max_handshakes=MOST,
            )
            state = SimpleNamespace(connections=set())
            server = await asyncio.get_running_loop().create_server(
                lambda: self.listener.protocol(config=None, server_state=state, app_state=None),
                sock=listening,
            )
            async with anyio.create_task_group() as tasks, server:
                self.listener.start(tasks)
                yield
                await eventually(self.is_idle)
                tasks.cancel_scope.cancel()

    @property
    def origin(self) -> str:
        """Where clients dial."""
        return f"ws://127.0.0.1:{self.port}"

    def is_idle(self) -> bool:
        """Tell whether nobody shakes hands."""
        return len(self.listener._handshakes) == 0

    async def status(self) -> int:
        """Ask for a WebSocket and leave; returns the answer's status."""
        async with dialled(self.port) as link:
            return await link.upgrade(upgrade_lines(f"127.0.0.1:{self.port}"))

    async def stalled(self, stack: AsyncExitStack, count: int = MOST) -> list[RawLink]:
        """Begin so many handshakes."""
        return [await stack.enter_async_context(upgraded(self.port)) for _ in range(count)]

    async def _find_key(self, _tunnel: str, _instance: str) -> bytes:
        return self.member.key.public


async def test_one_that_is_let_in_while_the_relay_begins_to_drain_is_told_at_once() -> None:
    """The drain begins after its proof was taken, and before the store says yes."""

    async def admit(*_: object) -> Admission:
        relay.registry.drain("the relay stops")
        return Admission(Verdict.ADMITTED)

    relay = Relay(admit)
    async with relay.up(), joined(relay.port, relay.member) as link:
        with anyio.fail_after(10):
            assert (await link.next_frame())[0] is FrameType.DRAIN


async def test_those_that_come_together_do_not_push_each_other_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One too many is told to come later, and has a place once another is done."""
    monkeypatch.setattr(f"{PLACE}.PATIENCE", NO_DEADLINE)
    monkeypatch.setattr(f"{PLACE}.CHANCE", 0.0)
    relay = Relay()
    async with relay.up(), AsyncExitStack() as stack:
        links = await relay.stalled(stack)
        assert await relay.status() == TOO_MANY_REQUESTS
        for link in links:
            await link.join(relay.member, relay.origin)
            async with joined(relay.port, relay.member):
                pass
    assert relay.registry.crowded == {"refused": 1}


async def test_t10_many_stalled_handshakes_keep_nobody_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Some are silent, some half through; the longest silent one loses its place."""
    monkeypatch.setattr(f"{PLACE}.CHANCE", 0.0)
    relay = Relay()
    async with relay.up(), AsyncExitStack() as stack:
        half, *silent = await relay.stalled(stack)
        await half.challenged(encode(relay.member.hello(relay.origin)))
        with anyio.fail_after(60):
            while await relay.status() == TOO_MANY_REQUESTS:  # noqa: ASYNC110 - a peer's
                await asyncio.sleep(0.1)
            async with joined(relay.port, relay.member):
                assert await silent[0].closed() == BROKE
    assert relay.registry.crowded["dropped"] >= 1


async def test_t10_many_that_say_just_enough_keep_nobody_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """None of them is silent for long: now and then one loses its place all the same."""
    monkeypatch.setattr(f"{PLACE}.PATIENCE", NO_DEADLINE)
    relay = Relay()
    async with relay.up(), AsyncExitStack() as stack:
        stalled = await relay.stalled(stack)
        with anyio.fail_after(60):
            while await relay.status() == TOO_MANY_REQUESTS:
                pass
            ends = [asyncio.ensure_future(each.closed()) for each in stalled]
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        assert [each.result() for each in done] == [BROKE]
        assert relay.registry.crowded["dropped"] == 1


async def test_one_whose_proof_was_taken_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{PLACE}.PATIENCE", 0.0)
    stored, asked = anyio.Event(), 0

    async def admit(*_: object) -> Admission:
        nonlocal asked
        asked += 1
        await stored.wait()
        return Admission(Verdict.ADMITTED)

    relay = Relay(admit)
    async with relay.up(), AsyncExitStack() as stack:
        links = await relay.stalled(stack)
        for slot, link in enumerate(links):
            hello = relay.member.hello(relay.origin, process="f" * 32, slot=slot)
            await link.prove(relay.member, hello)
        await eventually(lambda: asked == MOST)
        assert await relay.status() == TOO_MANY_REQUESTS
        stored.set()
        for link in links:
            await link.due(FrameType.READY)


async def test_a_relay_that_has_all_its_links_takes_no_more() -> None:
    relay = Relay()
    async with relay.up(), AsyncExitStack() as stack:
        for slot in range(LINKS - 1):
            more = {"process": "f" * 32, "slot": slot}
            await stack.enter_async_context(joined(relay.port, relay.member, **more))
        async with upgraded(relay.port):
            assert await relay.status() == UNAVAILABLE
        await eventually(relay.is_idle)
        assert await relay.status() == 101


async def test_before_its_proof_a_peer_may_have_little_held() -> None:
    relay = Relay()
    long = bytes(MAX_MESSAGE_BYTES)
    async with relay.up(), upgraded(relay.port) as stranger:
        head = ws_frame(BINARY, long)[:100]
        stranger.write(head)
        assert (await stranger.closed())[0] == TOO_BIG
        async with joined(relay.port, relay.member) as link:
            link.message(long)
            assert (await link.closed())[0] not in (TOO_BIG, BROKE[0])
