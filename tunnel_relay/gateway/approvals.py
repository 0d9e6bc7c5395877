"""What agents hear of approvals, and the permit that an approved call goes out with.

A request is never held open for a human: the agent is told that it waits, and repeats the call. In
the modern era an agent that declared URL elicitation is led to the console's page instead, once.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import structlog

from shared.jsonrpc.canonical import exact
from shared.jsonrpc.envelope import CAPABILITIES_KEY, Envelope
from shared.keys import PrivateKey
from shared.permit import OWN_ANSWERS, PermitError
from shared.wire.tools import ToolWord
from tunnel_relay.approvals.decide import Needs, NeedsError, read_needs
from tunnel_relay.approvals.desk import Approvals, AskError
from tunnel_relay.approvals.signatures import signed
from tunnel_relay.gateway import answers
from tunnel_relay.gateway.answers import Answer, Why
from tunnel_relay.store.approvals import Approval, State
from tunnel_relay.store.base import Session, StoreError

META = "mcp-tunnel/approval"
"""Under this name an answer says in its `_meta` what programs need of it."""
AGAIN_SECONDS = 10
"""How soon an agent may look again."""
FULL_SECONDS = 60
"""The same where no more requests are taken."""
CALL = "tools/call"

log = structlog.get_logger("tunnel_relay.approvals")


class Go(NamedTuple):
    """How a call goes on: with a permit or without, or not at all but with an answer."""

    permit: str = ""
    answer: Answer | None = None


class Asking:
    """Between the gateway and the approvals; `console` is the origin of the console, if known."""

    def __init__(self, approvals: Approvals, key: PrivateKey, console: str | None) -> None:
        self._approvals = approvals
        self._key = key
        self._console = console

    def ready(self, session: str, envelope: Envelope | None) -> bool:
        """Tell whether a call may have been approved; costs a call one look into a dictionary."""
        return (
            envelope is not None
            and envelope.method == CALL
            and self._approvals.requests.ready(session)
        )

    async def take(
        self, session: Session, envelope: Envelope, body: bytes, needs: Needs | None = None
    ) -> Go:
        """Use up the approval for a call, just before it is sent. Nothing goes out on a doubt.

        `needs` is of a rule of the relay's own that asks for an approval of this call.
        """
        try:
            params = _params(body)
        except ValueError:
            return Go()  # nobody can have approved what has no one spelling
        try:
            taken = await self._approvals.take(session.id, envelope.name or "", params, needs)
            if taken.waits is not None:
                return Go(answer=self.answer(taken.waits, envelope))
            if taken.approval is not None:
                return Go(signed(taken.approval).vouched(self._key).text())
        except StoreError:
            return Go(answer=answers.UNCHECKED)
        except PermitError as error:
            log.error("permit_not_made", session=session.id[:12], why=error.kind)
            text = "this approval cannot be used: the names in it are too long"
            return Go(answer=_told(envelope, text))
        if taken.lost:
            text = "this approval was used by the same call at the same moment; it is good for one"
            return Go(answer=_told(envelope, text))
        return Go()

    async def asked_by_client(
        self,
        session: Session,
        envelope: Envelope,
        body: bytes,
        detail: str,
        tool: ToolWord | None = None,
    ) -> Answer:
        """Answer a call that the client sent back with NEEDS_APPROVAL and this detail.

        `tool` is what the client had said of it: its definition is shown if it is the same one.
        """
        try:
            needs = read_needs(detail)
        except NeedsError as error:
            log.warning("approval_not_asked", session=session.id[:12], why=str(error))
            return _told(envelope, "this call needs an approval, and nobody could give it")
        same = tool is not None and tool.sha256 == needs.definition
        definition = tool.definition or None if same and tool is not None else None
        return await self.ask(session, envelope, body, needs, definition)

    async def ask(
        self,
        session: Session,
        envelope: Envelope,
        body: bytes,
        needs: Needs,
        definition: str | None = None,
    ) -> Answer:
        """Make or find the request for a call, and tell the agent what became of it."""
        try:
            params = _params(body)
            tool = envelope.name or ""
            approval = await self._approvals.ask(session, tool, params, needs, definition)
        except StoreError:
            return answers.UNCHECKED
        except ValueError:
            return _told(envelope, "these arguments cannot be approved: a number is out of range")
        except AskError as error:
            if error.too_many is not None:
                return answers.too_many("pending approvals", FULL_SECONDS, envelope.id)
            return _told(envelope, error.why)
        return self.answer(approval, envelope)

    def answer(self, approval: Approval, envelope: Envelope) -> Answer:
        """Tell the agent where an approval stands."""
        if approval.state is State.DENIED:
            text = f"an approver denied this call (approval {approval.id[:12]})"
            return _told(envelope, text, why=Why("an approver denied it", approval=approval.id))
        if approval.state is State.PENDING and self._leads_on(approval, envelope):
            return _result(envelope, self._elicitation(approval), _waits(approval))
        left = max(0, math.floor(approval.expires - self._approvals.now()))
        text = (
            f"approval pending: {approval.id[:12]}. A person has to approve this call with exactly "
            f"these arguments. Repeat the same call later, unchanged; the request ends in {left} s."
        )
        if approval.state is State.APPROVED:
            text = f"approval given: {approval.id[:12]}. Repeat the same call, unchanged."
        facts = {
            "id": approval.id,
            "state": approval.state.value,
            "expires": int(approval.expires),
            "retryAfter": AGAIN_SECONDS,
        }
        return _told(envelope, text, facts, _waits(approval))

    def _elicitation(self, approval: Approval) -> dict[str, Any]:
        params = {
            "mode": "url",
            "url": f"{self._console}/approvals/{approval.id}",
            "message": (
                f"A person has to approve the call of {approval.tool}. Open the page, or send it "
                "to an approver; then let the agent repeat the call."
            ),
        }
        request = {"method": "elicitation/create", "params": params}
        asked = {OWN_ANSWERS + approval.id: request}
        return {"resultType": "input_required", "inputRequests": asked}

    def _leads_on(self, approval: Approval, envelope: Envelope) -> bool:
        """Tell whether to lead the user to the page: not again when the agent has answered that."""
        if self._console is None or not envelope.is_modern or not _elicits_urls(envelope):
            return False
        answered = (envelope.params or {}).get("inputResponses")
        return not (isinstance(answered, Mapping) and OWN_ANSWERS + approval.id in answered)


def _elicits_urls(envelope: Envelope) -> bool:
    """Tell whether the agent declared that it can lead its user to a page."""
    found: Any = envelope.params
    for key in ("_meta", CAPABILITIES_KEY, "elicitation", "url"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return isinstance(found, Mapping)


def _params(body: bytes) -> dict[str, Any] | None:
    found = exact(body).get("params")
    return found if isinstance(found, dict) else None


def _waits(approval: Approval) -> Why:
    return Why(
        f"approval {approval.state.value}", approval.rule, "require_approval", approval=approval.id
    )


def _told(
    envelope: Envelope, text: str, facts: dict[str, Any] | None = None, why: Why | None = None
) -> Answer:
    """Return a tool's result that says why there is none."""
    result: dict[str, Any] = {"content": [{"type": "text", "text": text}], "isError": True}
    if envelope.is_modern:
        result["resultType"] = "complete"
    if facts is not None:
        result["_meta"] = {META: facts}
    return _result(envelope, result, why or Why(text))


def _result(envelope: Envelope, result: dict[str, Any], why: Why) -> Answer:
    body = {"jsonrpc": "2.0", "id": envelope.id, "result": result}
    encoded = json.dumps(body, separators=(",", ":")).encode()
    return Answer(200, encoded, [answers.JSON, answers.NO_STORE], why)
