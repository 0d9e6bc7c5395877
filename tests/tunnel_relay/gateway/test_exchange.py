"""One call's end at the relay: nothing of it stays with the link, whoever ends it, and when.

The link's two ends are real and joined here; the agent's connection is what a test makes of it.
"""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import pytest_asyncio

from shared.errors import ResetCode
from shared.jsonrpc.results import EditError
from shared.link.driver import LinkDriver
from shared.wire.codec import OpenHead, encode_head, encode_open
from shared.wire.limits import LinkLimits
from shared.wire.mux import Mux, Role
from tunnel_relay.gateway.exchange import Exchange

JSON = [(b"content-type", b"application/json")]
EVENTS = [(b"content-type", b"text/event-stream")]
TURNS = 6


class Agents:
    """A connection whose agent takes nothing after the head when it is `slow`."""

    def __init__(self, slow: bool) -> None:
        self.slow, self.paused = slow, False
        self.written: list[bytes] = []
        self.broken = False

    def start(self, head: object, extra: bytes, body: bytes, end: bool) -> None:
        self.paused = self.slow
        self.written.append(body)

    def write(self, body: bytes, end: bool) -> None:
        self.written.append(body)

    def respond(self, answer: Any) -> None:
        self.written.append(answer.body)

    def break_off(self) -> None:
        self.broken = True


class Ends:
    """The relay's end of a link, and the client's."""

    writable = True

    def __init__(self) -> None:
        self.handler: Any = None
        self.sent: list[bytes] = []
        limits = LinkLimits()
        owner = cast(Any, SimpleNamespace(link_lost=lambda *_: None))
        self.relay = LinkDriver(cast(Any, self), Role.RELAY, limits, owner, "x" * 16)
        self.client = Mux(Role.CLIENT, limits)

    def send(self, message: bytes) -> None:
        self.sent.append(message)

    def close(self, code: int, reason: str) -> None:
        raise AssertionError(f"the link was closed: {code} {reason}")

    def abort(self) -> None:
        raise AssertionError("the link was dropped")

    async def settle(self) -> None:
        """Carry everything both ends have to say."""
        for _ in range(TURNS):
            await asyncio.sleep(0)
            while self.sent:
                list(self.client.receive_message(self.sent.pop(0), 0.0))
            while message := self.client.take_message([]):
                self.relay.message_received(message)

    def answer(self, exchange: Exchange, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.client.send_head(exchange.stream, encode_head(200, headers), False)
        self.client.send_data(exchange.stream, body, True)

    async def call(self, agent: Agents) -> Exchange:
        nothing = SimpleNamespace(give_back=lambda _: None, free=lambda _: None)
        gateway = SimpleNamespace(
            binding=nothing, bodies=nothing, forget=lambda _: None, time=lambda: 0.0
        )
        link = SimpleNamespace(driver=self.relay, refused=lambda *_: None)
        call = SimpleNamespace(
            is_read=False,
            body=b"",
            runs_on=False,
            initializes=False,
            message_id=1,
            session=None,
            request=SimpleNamespace(fields={}),
        )
        made = Exchange(cast(Any, gateway), cast(Any, call), cast(Any, link), cast(Any, agent))
        made.open(encode_open(OpenHead("server", "POST", "a" * 32, "", [])), b"{}")
        await self.settle()
        return made


@pytest_asyncio.fixture
async def ends() -> AsyncIterator[Ends]:
    made = Ends()
    yield made
    made.relay._timer.cancel()


async def test_an_agent_that_leaves_before_the_tail_of_its_answer_gives_the_link_all_back(
    ends: Ends,
) -> None:
    """Else a few hundred of them take the link: no answer gets a byte through any more."""
    for _ in range(500):
        exchange = await ends.call(Agents(slow=True))
        ends.answer(exchange, JSON, b"x" * 250_000)
        await ends.settle()
        assert ends.relay.open_streams == 1
        exchange.connection_lost()
        assert exchange.done
        assert exchange.outcome == "ok"  # all of it had come
        await ends.settle()
        assert (ends.relay.open_streams, ends.client.open_streams) == (0, 0)
    agent = Agents(slow=False)
    last = await ends.call(agent)
    ends.answer(last, JSON, b"y" * 250_000)
    await ends.settle()
    assert b"".join(agent.written) == b"y" * 250_000


async def test_an_answer_that_must_not_pass_at_its_end_leaves_no_stream(ends: Ends) -> None:
    class Strict:
        def feed(self, data: bytes) -> bytes:
            return data

        def end(self) -> bytes:
            raise EditError("it does not end as it has to")

    agent = Agents(slow=False)
    exchange = await ends.call(agent)
    ends.client.send_head(exchange.stream, encode_head(200, JSON), False)
    await ends.settle()
    exchange._reader = cast(Any, Strict())
    ends.client.send_data(exchange.stream, b"x" * 20_000, True)
    await ends.settle()
    assert (exchange.done, agent.broken, ends.relay.open_streams) == (True, True, 0)


@pytest.mark.parametrize("headers", [JSON, EVENTS])
async def test_an_approval_that_is_asked_for_after_the_answer_began_ends_the_call(
    ends: Ends, headers: list[tuple[bytes, bytes]]
) -> None:
    """As an answer whose end nobody knows, not as a call that was never sent."""
    agent = Agents(slow=False)
    exchange = await ends.call(agent)
    ends.client.send_head(exchange.stream, encode_head(200, headers), False)
    await ends.settle()
    ends.client.reset(exchange.stream, ResetCode.NEEDS_APPROVAL, "{}")
    await ends.settle()
    assert (exchange.done, exchange.outcome) == (True, "protocol")
    assert agent.broken is (headers is JSON)


async def test_an_approval_that_is_asked_for_after_the_whole_answer_came_changes_nothing(
    ends: Ends,
) -> None:
    """The agent still reads it: whatever were said to it now would stand in the middle of that."""
    agent = Agents(slow=True)
    exchange = await ends.call(agent)
    ends.answer(exchange, JSON, b"x" * 250_000)
    await ends.settle()
    exchange.on_reset(ResetCode.NEEDS_APPROVAL, "{}")
    agent.paused = False
    exchange.connection_resumed()
    assert (exchange.done, exchange.outcome, agent.broken) == (True, "ok", False)
    assert b"".join(agent.written) == b"x" * 250_000
