"""A link that is let in at an awkward moment."""

import asyncio
import socket
from types import SimpleNamespace

import anyio
import pytest

from shared.keys import PrivateKey
from shared.wire.frames import FrameType
from shared.wire.limits import LinkLimits
from tests.helpers.raw_link import Member, joined
from tunnel_relay.admin.admission import Admission
from tunnel_relay.clients.listen import LinkListener
from tunnel_relay.clients.registry import Registry
from tunnel_relay.store.base import Verdict

pytestmark = pytest.mark.asyncio


async def test_one_that_is_let_in_while_the_relay_begins_to_drain_is_told_at_once() -> None:
    """The drain begins after its proof was taken, and before the store says yes."""
    registry, member = Registry(30.0), Member()

    async def find_key(_tunnel: str, _instance: str) -> bytes:
        return member.key.public

    async def admit(_tunnel: str, _instance: str, _counter: int) -> Admission:
        registry.drain("the relay stops")
        return Admission(Verdict.ADMITTED)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        listener = LinkListener(
            key=PrivateKey.generate(),
            origins=frozenset([f"ws://127.0.0.1:{port}"]),
            registry=registry,
            find_key=find_key,
            admit=admit,
            groups_of=lambda _user: (),
            limits=LinkLimits(),
            deadline=10.0,
            most=(10, 2),
        )
        state = SimpleNamespace(connections=set())
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: listener.protocol(config=None, server_state=state, app_state=None),
            sock=listening,
        )
        async with anyio.create_task_group() as tasks, server:
            listener.start(tasks)
            async with joined(port, member) as link:
                with anyio.fail_after(10):
                    assert (await link.next_frame())[0] is FrameType.DRAIN
            tasks.cancel_scope.cancel()
