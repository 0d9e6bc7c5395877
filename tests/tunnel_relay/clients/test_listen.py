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
from shared.wire.limits import LinkLimits
from tests.helpers.raw_link import Member, dialled, joined, upgrade_lines, upgraded
from tunnel_relay.admin.admission import Admission
from tunnel_relay.clients.listen import LinkListener
from tunnel_relay.clients.registry import Registry
from tunnel_relay.store.base import Verdict

pytestmark = pytest.mark.asyncio

MOST = 4
TOO_MANY_REQUESTS = 429
PATIENT_SECONDS = 600.0
"""No deadline makes room here."""


async def _admitted(_tunnel: str, _instance: str, _counter: int) -> Admission:
    return Admission(Verdict.ADMITTED)


@asynccontextmanager
async def listening(
    member: Member,
    registry: Registry,
    admit: Callable[[str, str, int], Awaitable[Admission]] = _admitted,
) -> AsyncIterator[int]:
    """Take in the links of one member, `MOST` handshakes at a time; returns the port."""

    async def find_key(_tunnel: str, _instance: str) -> bytes:
        return member.key.public

    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        listener = LinkListener(
            key=PrivateKey.generate(),
            origins=frozenset([f"ws://127.0.0.1:{port}"]),
            registry=registry,
            find_key=find_key,
            admit=admit,
            groups_of=lambda _user: (),
            limits=LinkLimits(),
            deadline=PATIENT_SECONDS,
            most=(10, 2),
            max_handshakes=MOST,
        )
        state = SimpleNamespace(connections=set())
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: listener.protocol(config=None, server_state=state, app_state=None),
            sock=listening,
        )
        async with anyio.create_task_group() as tasks, server:
            listener.start(tasks)
            yield port
            tasks.cancel_scope.cancel()


async def upgrade_status(port: int) -> int:
    """Ask for a WebSocket and leave; returns the answer's status."""
    async with dialled(port) as link:
        return await link.upgrade(upgrade_lines(f"127.0.0.1:{port}"))


async def test_one_that_is_let_in_while_the_relay_begins_to_drain_is_told_at_once() -> None:
    """The drain begins after its proof was taken, and before the store says yes."""
    registry, member = Registry(30.0), Member()

    async def admit(*_: object) -> Admission:
        registry.drain("the relay stops")
        return Admission(Verdict.ADMITTED)

    async with listening(member, registry, admit) as port, joined(port, member) as link:
        with anyio.fail_after(10):
            assert (await link.next_frame())[0] is FrameType.DRAIN


async def test_those_that_come_together_do_not_push_each_other_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One too many is told to come later, and has a place once another is done."""
    monkeypatch.setattr("tunnel_relay.clients.unproven.PATIENCE", PATIENT_SECONDS)
    member = Member()
    async with listening(member, Registry(30.0)) as port, AsyncExitStack() as stack:
        links = [await stack.enter_async_context(upgraded(port)) for _ in range(MOST)]
        assert await upgrade_status(port) == TOO_MANY_REQUESTS
        for link in links:
            await link.join(member, f"ws://127.0.0.1:{port}")
            async with joined(port, member):
                pass


async def test_t10_many_stalled_handshakes_keep_nobody_out() -> None:
    """They are of the same address as the client, some silent and some half through."""
    member = Member()
    async with listening(member, Registry(30.0)) as port, AsyncExitStack() as stack:
        stalled = [await stack.enter_async_context(upgraded(port)) for _ in range(MOST)]
        await stalled[0].challenged(encode(member.hello(f"ws://127.0.0.1:{port}")))
        with anyio.fail_after(60):
            while await upgrade_status(port) == TOO_MANY_REQUESTS:  # noqa: ASYNC110 - a peer's
                await asyncio.sleep(0.1)
            async with joined(port, member):
                pass
