"""Requests that wait for an issuer's keys: bounded, and nobody takes the places of all."""

from pathlib import Path
from typing import cast

import anyio

from tests.tunnel_relay.identity import minting
from tests.tunnel_relay.identity.key_host import key_host
from tests.tunnel_relay.identity.minting import OTHER, sign
from tests.tunnel_relay.identity.test_issuers import GIT, a_stage
from tunnel_relay.gateway import answers
from tunnel_relay.gateway.answers import Answer
from tunnel_relay.gateway.bodies import Bodies
from tunnel_relay.gateway.checks import Request
from tunnel_relay.gateway.connection import AgentConnection
from tunnel_relay.gateway.foreign import MAX_WAITING_OF_ADDRESS, ForeignTokens, Held


class Told:
    """The end of a connection: what was answered, or that nothing was yet."""

    def __init__(self) -> None:
        self.exchange: Held | None = None
        self.answer: Answer | None = None

    def respond(self, answer: Answer, about: object = None) -> None:
        self.answer = answer


async def test_d09_tokens_with_made_up_keys_from_one_address_leave_places_for_others(
    tmp_path: Path,
) -> None:
    """The issuer is silent, so each of them would wait for seconds; none is even signed well."""
    async with key_host() as host:
        host.be_issuer()
        async with a_stage(tmp_path, host) as stage:
            (issuer,) = stage.issuers._issuers.values()
            issuer.provider._began = None  # a fetch is under way that never ends
            doors = ForeignTokens(
                stage.issuers, lambda request, no: answers.LATER, lambda: 0.0, Bodies(0, 0)
            )

            def bring(address: str, number: int, tasks: anyio.abc.TaskGroup) -> Told:
                claims = minting.changed(iss=host.url, jti=str(number))
                token = sign(claims, OTHER, kid=f"made-up-{number}")
                request, told = Request(address), Told()
                assert doors.judge(b"Bearer " + token.encode(), GIT, request) is None
                connection = cast(AgentConnection, told)
                doors.open(request, connection, tasks, lambda request, connection: None)
                return told

            async with anyio.create_task_group() as tasks:
                flood = [bring("192.0.2.66", number, tasks) for number in range(300)]
                waits = [each for each in flood if each.exchange is not None]
                assert len(waits) == MAX_WAITING_OF_ADDRESS
                assert flood[-1].answer is answers.LATER
                assert bring("192.0.2.1", 0, tasks).exchange is not None
                tasks.cancel_scope.cancel()
            assert doors._waiting.each == {}
