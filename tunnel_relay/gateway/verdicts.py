"""What becomes of a call before it is sent: policy, approvals, and what belongs to its session.

Most calls are settled at once. Those about an approval wait for the store, in a task, while the
agent's connection holds a stand-in.
"""

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from shared.jsonrpc.envelope import Envelope, parse
from shared.keys import BadKeyError
from shared.passkey import approver_fingerprint, read_approver_key
from shared.policy.model import Policy
from tunnel_relay.approvals.decide import Needs, NeedsError
from tunnel_relay.clients.link import Link
from tunnel_relay.gateway import answers
from tunnel_relay.gateway.answers import Answer
from tunnel_relay.gateway.approvals import Asking, Go
from tunnel_relay.gateway.binding import Binding
from tunnel_relay.gateway.call import Call
from tunnel_relay.gateway.judge import Asks, Judge, Narrow, Passed
from tunnel_relay.store.base import Session

CALL = "tools/call"
MAX_KEPT = 320 * 1024
"""Bytes of a call that are kept until its answer begins: what is larger cannot be approved."""
COUNTED_BYTES = 16 * 1024
"""What is kept above this counts as its session's and its user's."""


@dataclass(frozen=True, slots=True)
class Later:
    """The verdict has to wait for the store."""

    outcome: Coroutine[Any, Any, Go]


class Verdicts:
    """Asks everybody who has a say; one instance a gateway."""

    def __init__(self, judge: Judge, binding: Binding, asking: Asking | None) -> None:
        self._judge = judge
        self._binding = binding
        self._asking = asking

    @property
    def policy(self) -> Policy:
        """The relay's policy as it is now."""
        return self._judge.policy

    def of(self, call: Call, link: Link) -> Answer | Narrow | Later | None:
        """Return how a call ends here, or None when it may be sent."""
        envelope, asking = call.envelope, self._asking
        verdict = self._judge.judge(call.session, envelope, link, call.request.method)
        if isinstance(verdict, Passed):
            call.edit, call.decision = verdict.edit, verdict.decision
            ready = asking is not None and asking.ready(call.session.id, envelope)
            if ready and asking is not None and envelope is not None:
                return Later(self._taken(asking, call.session, envelope, call.request.body))
            return None if call.claim is None else self._binding.admit(call)
        if not isinstance(verdict, Asks):
            return verdict
        call.decision = verdict.decision
        if asking is None or envelope is None:
            return answers.NOT_FOUND
        return Later(self._asked(asking, call, envelope, verdict))

    def keep(self, call: Call) -> None:
        """Keep what an approval would be asked for, should the client want one.

        The body and not what was read of it: that can take many times the room.
        """
        envelope, call.envelope = call.envelope, None
        asks = envelope is not None and envelope.method == CALL
        if asks and self._asking is not None and len(call.request.body) <= MAX_KEPT:
            call.body = call.request.body

    async def asked_by_client(self, call: Call, detail: str, link: Link) -> Answer:
        """Answer a call that its client sent back: a person has to permit it."""
        if self._asking is None or not call.body:
            return answers.cannot_be_approved(call.message_id)
        envelope = parse(call.body)
        tool = link.tool(call.session.upstream, envelope.name or "")
        return await self._asking.asked_by_client(call.session, envelope, call.body, detail, tool)

    async def _taken(self, asking: Asking, session: Session, envelope: Envelope, body: bytes) -> Go:
        return await asking.take(session, envelope, body)

    async def _asked(self, asking: Asking, call: Call, envelope: Envelope, asks: Asks) -> Go:
        """Look for an approval that satisfies the relay's own rule, or ask for one."""
        session, body = call.session, call.request.body
        try:
            needs = _needs(asks)
        except (NeedsError, BadKeyError):
            return Go(answer=answers.cannot_be_approved(call.message_id))
        taken = await asking.take(session, envelope, body, needs)
        if taken.permit or taken.answer is not None:
            return taken
        definition = None if asks.tool is None else asks.tool.definition or None
        return Go(answer=await asking.ask(session, envelope, body, needs, definition))


def _needs(asks: Asks) -> Needs:
    approvers, tool = asks.decision.approvers, asks.tool
    if approvers is None:
        raise NeedsError("the rule names nobody who could approve")
    kind = asks.action.tool_class
    return Needs(
        policy=asks.policy.digest,
        rule=asks.decision.rule or "",
        tool_class="" if kind is None else kind.value,
        definition="" if tool is None else tool.sha256,
        groups=approvers.groups,
        users=approvers.users,
        count=approvers.count,
        ttl=approvers.ttl,
        not_requester=approvers.not_requester,
        keys=tuple(
            approver_fingerprint(read_approver_key(text))
            for text in asks.policy.approver_keys.values()
        ),
        relay=True,
    )
