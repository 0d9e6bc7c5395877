"""Calls that wait: for their client, for an approval's word from the store. All of it bounded.

The agent's connection holds a stand-in meanwhile, which notices when the agent leaves.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import structlog

from tunnel_relay.clients.link import Link
from tunnel_relay.gateway import answers
from tunnel_relay.gateway.answers import Answer
from tunnel_relay.gateway.approvals import Go
from tunnel_relay.gateway.call import Call
from tunnel_relay.gateway.foreign import Held
from tunnel_relay.quotas import Waiting

if TYPE_CHECKING:
    from tunnel_relay.gateway.connection import AgentConnection
    from tunnel_relay.gateway.http import Gateway

log = structlog.get_logger("tunnel_relay.gateway")

MAX_WAITING = 1024
"""Calls held at a time until their client comes back; more are turned away at once."""
MAX_WAITING_OF_USER = 256


class WaitingCalls:
    """The calls of one gateway that wait; `patience` is in seconds, for a client."""

    def __init__(self, gateway: "Gateway", patience: float) -> None:
        self._gateway = gateway
        self._patience = patience
        self._waiting = Waiting(MAX_WAITING, MAX_WAITING_OF_USER)

    def settle(
        self, call: Call, connection: "AgentConnection", outcome: Coroutine[Any, Any, Go]
    ) -> None:
        """Let a call wait for what the store says of its approval."""
        refused = self._gateway.bodies.pay(call.request, len(call.request.body), call.message_id)
        if refused is not None or self._gateway.tasks is None:
            outcome.close()  # it was never begun
            self._gateway.turn_away(call, connection, refused or answers.BUSY)
            return
        held = connection.exchange = Held()
        self._gateway.tasks.start_soon(self._alone, self._settled, call, connection, held, outcome)

    async def _settled(
        self, call: Call, connection: "AgentConnection", held: Held, outcome: Awaitable[Go]
    ) -> None:
        policy = self._gateway.verdicts.policy
        go = await _kept_in(outcome)
        if policy is not self._gateway.verdicts.policy:
            go = Go(answer=answers.BUSY)  # what was asked of another policy counts for nothing
        if held.gone:
            self._end_waiting(call)
            return
        connection.exchange = None
        session = call.session
        link = self._gateway.registry.find(session.tunnel, session.upstream, call.instance)
        refused = go.answer or self._gateway.judge_late(call.request)
        if refused is None and link is not None:
            refused = None if call.claim is None else self._gateway.binding.admit(call)
        if refused is not None or link is None:
            self._end_waiting(call)
            connection.respond(refused or self._nobody(call), call)
            return
        call.permit = go.permit
        self._gateway.send(call, link, connection)
        if connection.exchange is None:
            self._gateway.bodies.free(call.request)

    async def _alone(
        self,
        way: Callable[..., Awaitable[None]],
        call: Call,
        connection: "AgentConnection",
        *more: object,
    ) -> None:
        """Go a call's way: a fault on it ends that call and nobody else's."""
        try:
            await way(call, connection, *more)
        except Exception:
            log.exception("a call that waited could not be carried")
            self._gateway.bodies.free(call.request)
            connection.break_off()

    def ask(self, call: Call, connection: "AgentConnection", detail: str, link: Link) -> None:
        """A client wants a person's permission for a call that it sent back."""
        if self._gateway.tasks is None:
            connection.respond(answers.BUSY)
            return
        held = connection.exchange = Held()
        self._gateway.tasks.start_soon(self._alone, self._ask, call, connection, held, detail, link)

    async def _ask(
        self, call: Call, connection: "AgentConnection", held: Held, detail: str, link: Link
    ) -> None:
        asked = self._gateway.verdicts.asked_by_client(call, detail, link)
        go = await _kept_in(_as_go(asked))
        if not held.gone:
            connection.exchange = None
            connection.respond(go.answer or answers.BUSY)

    def for_client(self, call: Call, connection: "AgentConnection") -> None:
        """Hold a call until its client comes back, unless that is gone."""
        request, user = call.request, call.session.user
        refused = answers.MCP_SESSION_GONE if self._is_gone(call) else None
        if refused is None:
            refused = self._gateway.bodies.pay(request, len(request.body), call.message_id)
        if refused is None and not (self._gateway.tasks is not None and self._waiting.begin(user)):
            refused = answers.not_connected(call.message_id, 5)
        if refused is not None or self._gateway.tasks is None:
            self._gateway.quotas.end(call.session)
            connection.respond(refused or answers.BUSY, call)
            return
        held = connection.exchange = Held()
        self._gateway.tasks.start_soon(self._alone, self._wait, call, connection, held)

    async def _wait(self, call: Call, connection: "AgentConnection", held: Held) -> None:
        session = call.session
        try:
            link = await self._gateway.registry.wait(
                session.tunnel, session.upstream, call.instance, self._patience
            )
        finally:
            self._waiting.end(session.user)
        if held.gone:
            self._end_waiting(call)
            return
        connection.exchange = None
        refused = self._gateway.judge_late(call.request)
        if refused is None and link is None:
            refused = self._nobody(call)
        if refused is None and link is not None:
            self._gateway.carry(call, link, connection)
            if connection.exchange is None:
                self._gateway.bodies.free(call.request)
        else:
            self._end_waiting(call)
            connection.respond(refused or answers.BUSY, call)

    def _nobody(self, call: Call) -> Answer:
        """Return what an agent hears whose call no client takes."""
        if self._is_gone(call):
            return answers.MCP_SESSION_GONE
        return answers.not_connected(call.message_id, 5)

    def _is_gone(self, call: Call) -> bool:
        """Tell whether a call's MCP session ended with its client: the agent has to begin anew."""
        session, instance = call.session, call.instance
        return instance is not None and self._gateway.registry.gone(
            session.tunnel, session.upstream, instance
        )

    def _end_waiting(self, call: Call) -> None:
        self._gateway.quotas.end(call.session)
        self._gateway.bodies.free(call.request)


async def _as_go(asked: Awaitable[Answer]) -> Go:
    return Go(answer=await asked)


async def _kept_in(outcome: Awaitable[Go]) -> Go:
    """Wait for a verdict; a fault in one call's ends that call and nobody else's."""
    try:
        return await outcome
    except Exception:
        log.exception("a call could not be judged")
        return Go(answer=answers.BUSY)
