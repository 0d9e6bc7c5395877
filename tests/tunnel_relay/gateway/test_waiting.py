"""What is looked at again when the store has said what became of a call's approval.

The gateway is a stand-in that notes what it is told; counts, links and ownership are the real ones.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from shared.jsonrpc.envelope import CAPABILITIES_KEY, MODERN, VERSION_KEY, parse
from tests.tunnel_relay.gateway.test_binding import a_session
from tunnel_relay.clients.link import Link
from tunnel_relay.clients.registry import Registry
from tunnel_relay.gateway import answers
from tunnel_relay.gateway.answers import Answer
from tunnel_relay.gateway.approvals import Go
from tunnel_relay.gateway.binding import Binding
from tunnel_relay.gateway.bodies import Bodies
from tunnel_relay.gateway.call import Call
from tunnel_relay.gateway.checks import Request
from tunnel_relay.gateway.claims import TASKS_EXTENSION
from tunnel_relay.gateway.waiting import WaitingCalls
from tunnel_relay.quotas import Quota, Quotas
from tunnel_relay.tasks import TaskTable

SESSION = a_session()
PERMIT = "signed by somebody"


@dataclass
class Stand:
    """One gateway, and the calls it was told to send; `late` is what it says just before."""

    tasks: anyio.abc.TaskGroup
    registry: Registry = field(default_factory=lambda: Registry(30.0))
    bodies: Bodies = field(default_factory=lambda: Bodies(1_000, 0))
    quotas: Quotas = field(default_factory=lambda: Quotas(Quota(0, 1), Quota(0, 1)))
    binding: Binding = field(default_factory=lambda: Binding(TaskTable()))
    verdicts: Any = field(default_factory=lambda: SimpleNamespace(policy=object()))
    late: Answer | None = None
    sent: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.waiting = WaitingCalls(cast(Any, self), 5.0)
        self.verdict: asyncio.Future[Go] = asyncio.get_running_loop().create_future()
        self.link = Link(self.registry, SESSION.tunnel, "0" * 32, 1)
        self.link.driver = cast(Any, SimpleNamespace(full=False, open_streams=0, load=0))
        self.link.upstreams = frozenset({SESSION.upstream})
        self.registry._tunnels[SESSION.tunnel] = {self.link.instance: [self.link]}

    def judge_late(self, _: Request) -> Answer | None:
        return self.late

    def send(self, call: Call, link: Link, connection: "Agent") -> None:
        self.sent.append(call.permit)
        connection.exchange = link
        self.quotas.end(call.session)
        self.bodies.free(call.request)

    def turn_away(self, call: Call, connection: "Agent", why: Answer) -> None:
        self.quotas.end(call.session)
        connection.respond(why, call)

    def settle(self, call: Call) -> "Agent":
        """Let a call wait as `Gateway.carry` does."""
        agent = Agent()
        assert self.quotas.begin(call.session, 0.0)
        self.waiting.settle(call, cast(Any, agent), self._outcome())
        return agent

    async def _outcome(self) -> Go:
        return await self.verdict

    def is_clear(self) -> bool:
        """Tell whether nothing is counted any more."""
        begun = self.quotas.begin(SESSION, 0.0)
        return begun and self.bodies.total == 0


class Agent:
    """As much of an agent's connection as has to do with waiting."""

    def __init__(self) -> None:
        self.exchange: Any = None
        self.answers: list[Answer] = []
        self.broken = False

    def respond(self, answer: Answer, _: Call | None = None) -> None:
        self.answers.append(answer)

    def break_off(self) -> None:
        self.broken = True


@asynccontextmanager
async def a_stand() -> AsyncIterator[Stand]:
    async with anyio.create_task_group() as tasks:
        yield Stand(tasks)


def a_call(size: int = 600, method: str = "tools/call", **params: Any) -> Call:
    capabilities: dict[str, Any] = {"extensions": {TASKS_EXTENSION: {}}}
    params["_meta"] = {VERSION_KEY: MODERN, CAPABILITIES_KEY: capabilities}
    request = Request()
    request.method, request.session, request.body = b"POST", SESSION, b" " * size
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return Call(request, SESSION, parse(json.dumps(body).encode()))


async def test_a_call_whose_approval_is_good_goes_out_with_its_permit() -> None:
    async with a_stand() as stand:
        agent = stand.settle(a_call(name="send"))
        assert stand.bodies.total == 600
        stand.verdict.set_result(Go(PERMIT))
    assert (stand.sent, agent.answers) == ([PERMIT], [])
    assert stand.is_clear()


async def test_a_call_that_cannot_be_sent_ends_alone() -> None:
    """A fault in the task of one call would else end the task group of all: the relay."""
    async with a_stand() as stand:
        agent = stand.settle(a_call(name="send"))
        stand.binding = cast(Any, None)  # asked about the call, and not there
        stand.verdict.set_result(Go(PERMIT))
        await anyio.wait_all_tasks_blocked()
        assert not stand.tasks.cancel_scope.cancel_called
    assert (stand.sent, agent.answers, agent.broken) == ([], [], True)
    assert stand.bodies.total == 0


def ends_the_session(stand: Stand, _: Agent) -> None:
    stand.late = answers.MCP_SESSION_GONE


def loses_the_client(stand: Stand, _: Agent) -> None:
    stand.registry._tunnels.clear()


def changes_the_policy(stand: Stand, _: Agent) -> None:
    stand.verdicts.policy = object()


def leaves(_: Stand, agent: Agent) -> None:
    agent.exchange.gone = True


@pytest.mark.parametrize(
    ("happens", "status"),
    [
        (ends_the_session, [404]),
        (loses_the_client, [503]),
        (changes_the_policy, [answers.BUSY.status]),
        (leaves, []),
    ],
)
async def test_what_happens_meanwhile_keeps_a_call_from_going_out(
    happens: Callable[[Stand, Agent], None], status: list[int]
) -> None:
    """P26, P27, S09: and nothing of it stays counted."""
    async with a_stand() as stand:
        agent = stand.settle(a_call(name="send"))
        await anyio.lowlevel.checkpoint()
        happens(stand, agent)
        stand.verdict.set_result(Go(PERMIT))
    assert stand.sent == []
    assert [answer.status for answer in agent.answers] == status
    assert stand.is_clear()


async def test_a_refusal_of_the_store_is_the_answer() -> None:
    async with a_stand() as stand:
        agent = stand.settle(a_call(name="send"))
        stand.verdict.set_result(Go(answer=answers.UNCHECKED))
    assert (stand.sent, agent.answers) == ([], [answers.UNCHECKED])
    assert stand.is_clear()


async def test_a_fault_ends_one_call_and_no_other() -> None:
    async with a_stand() as stand:
        agent = stand.settle(a_call(name="send"))
        stand.verdict.set_exception(RuntimeError("a bug"))
    assert (stand.sent, agent.answers) == ([], [answers.BUSY])
    assert stand.is_clear()


async def test_what_waits_counts_for_the_share_of_its_session() -> None:
    """P29: what there is no room for is not waited for, and its question is never asked."""
    async with a_stand() as stand:
        agent = stand.settle(a_call(size=1_001, name="send"))
        assert [answer.status for answer in agent.answers] == [429]
        assert agent.exchange is None
    assert stand.sent == []
    assert stand.is_clear()


async def test_the_task_of_another_is_refused_after_the_wait_too() -> None:
    """S21: what is owned is looked up when the call goes out."""
    async with a_stand() as stand:
        agent = stand.settle(a_call(method="tasks/get", taskId="of-another"))
        stand.verdict.set_result(Go(PERMIT))
    assert stand.sent == []
    assert [b"Task not found" in answer.body for answer in agent.answers] == [True]
    assert stand.is_clear()
