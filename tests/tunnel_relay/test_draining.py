"""What the way out waits for, where a whole relay cannot be stopped at the very moment."""

from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from tunnel_relay import draining as module
from tunnel_relay.clients.registry import Registry
from tunnel_relay.draining import Draining
from tunnel_relay.gateway.connection import AgentConnection
from tunnel_relay.settings import Limits


class Connection:
    """One that the kernel gave us and that did not agree on TLS yet."""

    transport: object = None


async def test_a_connection_that_agrees_on_tls_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No other relay gets it: this one took it."""
    monkeypatch.setattr(module, "FRESH_SECONDS", 3600.0)
    late, stopped = Connection(), anyio.Event()
    gateway: Any = SimpleNamespace(running=SimpleNamespace(all=list), connections=set(), live=0)
    draining = Draining(Registry(30.0), gateway, Limits(drain_notice=0))
    draining.taken(cast(AgentConnection, late))
    draining.listeners.append(stopped.set)
    async with anyio.create_task_group() as tasks:
        over = anyio.Event()

        async def run() -> None:
            await draining.run()
            over.set()

        tasks.start_soon(run)
        await stopped.wait()
        with anyio.move_on_after(10 * module.LOOK_SECONDS):
            await over.wait()
        assert not over.is_set()
        late.transport = object()
        with anyio.fail_after(5):
            await over.wait()


def test_one_that_agreed_on_tls_while_the_end_began_is_closed_after_its_answer() -> None:
    """Nobody would tell its agent otherwise, who would use it once more."""
    gateway: Any = SimpleNamespace(draining=False, connections=set(), time=lambda: 0.0)
    state = SimpleNamespace(connections=set())
    connection = AgentConnection(gateway, config=None, server_state=state)
    gateway.draining = True
    transport: Any = SimpleNamespace(set_write_buffer_limits=lambda high: None)
    connection.connection_made(transport)
    assert connection.close_after
