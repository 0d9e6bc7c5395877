"""The private side's own verdict on a request: grant, pins and policy of this machine.

Security steps, in order; the first that fails answers, and nothing reaches the upstream:

1. a tool is one an operator pinned, as it is now (else it does not exist)
2. its class is one that the session may use
3. `Mcp-Param-*` headers say what the arguments say, as the pinned definition has it
4. no argument that it does not declare, for tools that change something
5. the policy file of this client
6. where that asks for a person: a permit for exactly this call, used once

What is written here needs nobody's word but the operator's; the relay is asked for nothing.
"""

import json
import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import structlog

from shared.few import Few
from shared.grant import Grant
from shared.jsonrpc.canonical import exact
from shared.jsonrpc.envelope import Envelope, EnvelopeError, Kind
from shared.jsonrpc.header_values import Headers
from shared.passkey import ApproverKey, approver_fingerprint, read_approver_key
from shared.permit import arguments_digest
from shared.policy import answers
from shared.policy.actions import LISTS, Listed, action_of, entry_name, filtered
from shared.policy.classes import ToolClass
from shared.policy.methods import FROM_SERVER, TOOL
from shared.policy.model import Action, Approvers, Decision, Effect, Policy, Subject
from shared.policy.rules import decide, permits_all, visible
from tunnel_client.asked import Forbids
from tunnel_client.catalog.catalog import Catalog
from tunnel_client.catalog.definitions import Kind as ItemKind
from tunnel_client.catalog.pins import Pin
from tunnel_client.catalog.schemas import Schemas
from tunnel_client.permits import Expectation
from tunnel_client.upstream.base import UpstreamRequest

log = structlog.get_logger("tunnel_client.judge")

MAX_REMEMBERED = 4096
Document = dict[str, Any]
Edit = Callable[[Document], Document | None]

_READ = {"prompts/get": ItemKind.PROMPT, "resources/read": ItemKind.RESOURCE}
_ANYTHING = frozenset({*FROM_SERVER, TOOL, *_READ})
_INTRODUCE = frozenset({"initialize", "server/discover"})


class Passed(NamedTuple):
    """The request may go on; `edit`, where there is one, has to see the response first.

    `decision` and `pin` say why and what, for records; None: no rule and no pin was asked.
    """

    edit: Edit | None = None
    decision: Decision | None = None
    pin: Pin | None = None


class Refused(NamedTuple):
    """The request ends here with this JSON-RPC message.

    The rest is for records: `why` by which `rule`, of what `pin`; `request` is what the agent is
    told instead. `status` is the HTTP status.
    """

    body: bytes
    why: str
    rule: str | None = None
    request: str | None = None
    pin: Pin | None = None
    status: int = 200


@dataclass(frozen=True, slots=True)
class Asks:
    """A person has to permit this call first; `pin` and `decision` say which call by which rule."""

    action: Action
    decision: Decision
    pin: Pin | None
    policy: Policy

    @property
    def tool_class(self) -> str:
        """The class as it stands in permits; "" for none."""
        return "" if self.action.tool_class is None else self.action.tool_class.value

    @property
    def keys(self) -> list[ApproverKey]:
        """The approvers' public keys that this client trusts; none: the relay's word counts."""
        return [read_approver_key(text) for text in self.policy.approver_keys.values()]

    def expects(self, grant: Grant, body: bytes, relay_key: bytes) -> Expectation:
        """Return what a permit for this call has to say; raises ValueError."""
        approvers = self.decision.approvers or Approvers()
        return Expectation(
            session=grant.session,
            user=grant.user,
            agent=grant.agent,
            server=grant.upstream,
            tool=self.action.name or "",
            definition="" if self.pin is None else self.pin.sha256,
            arguments=arguments_digest(exact(body).get("params")),
            policy=self.policy.digest,
            tool_class=self.tool_class,
            count=approvers.count,
            not_requester=approvers.not_requester,
            keys=self.keys,
            relay_key=relay_key,
        )

    def same(self, other: "Verdict") -> bool:
        """Tell whether another look at the same call came to the very same question."""
        return (
            isinstance(other, Asks)
            and (other.policy, other.pin) == (self.policy, self.pin)
            and other.decision == self.decision
        )

    def detail(self) -> str:
        """Return what the relay is told, as JSON."""
        # A rule that asks has approvers: its file was checked. Without any, nobody can approve.
        approvers, pin = self.decision.approvers or Approvers(), self.pin
        told = {
            "rule": self.decision.rule,
            "class": self.tool_class,
            "sha256": "" if pin is None else pin.sha256,
            "policy": self.policy.digest,
            "groups": list(approvers.groups),
            "users": list(approvers.users),
            "count": approvers.count,
            "ttl": approvers.ttl,
            "not_requester": approvers.not_requester,
            "keys": [approver_fingerprint(key) for key in self.keys],
        }
        return json.dumps(told, separators=(",", ":"))


Verdict = Passed | Refused | Asks
_PASSED = Passed()


class Judge:
    """Judges every request of every link by the catalogue and the policy as they are now."""

    def __init__(self, policy: Callable[[], Policy], catalog: Catalog) -> None:
        self._few = Few()
        self._policy = policy
        self._catalog = catalog
        self._subjects: dict[str, tuple[Grant, Subject]] = {}
        self._schemas = Schemas()
        self._open: dict[str, tuple[Grant, Policy, bool]] = {}

    def judge(self, grant: Grant, request: UpstreamRequest) -> Verdict:
        """Return what becomes of a request; total, and a fault is a refusal."""
        envelope = request.envelope
        policy = self._policy()
        if envelope is None:
            # A stream that is resumed brings the answers of earlier requests, lists among them.
            return Passed(self.lists(grant)) if request.method == "GET" else _PASSED
        if envelope.kind is Kind.RESPONSE:
            return _PASSED  # an answer to what was let through
        method = envelope.method
        if method == TOOL:
            return self._tool(policy, grant, envelope, request.headers)
        action = action_of(grant.upstream, envelope, None)
        if action is None:
            return _PASSED
        subject = self.subject(grant)
        decision = decide(policy, subject, action)
        if decision.effect is not Effect.ALLOW or not self._readable(grant, action):
            return self._refuse(grant, envelope, action, decision)
        listing = method in LISTS or method in _INTRODUCE
        return Passed(self.lists(grant) if listing else None, decision)

    def subject(self, grant: Grant) -> Subject:
        """Return who asks, as policies see it."""
        known = self._subjects.get(grant.session)
        if known is not None and known[0] is grant:
            return known[1]
        if len(self._subjects) >= MAX_REMEMBERED:
            self._subjects.clear()
        subject = Subject(grant.user, frozenset(grant.groups), grant.agent)
        self._subjects[grant.session] = grant, subject
        return subject

    def forbids(self, grant: Grant, request: UpstreamRequest) -> Forbids | None:
        """Return what upstreams may not ask of agents in an answer; None: nothing is to be read.

        A stream lives for long: it is judged by the policy that holds when something is asked.
        """
        if request.method == "POST" and self._is_open(self._policy(), grant):
            return None
        subject = self.subject(grant)

        def forbids(method: str, params: Any) -> bool:
            action = Action(grant.upstream, method, None, None, params)
            return decide(self._policy(), subject, action).effect is not Effect.ALLOW

        return forbids

    def _is_open(self, policy: Policy, grant: Grant) -> bool:
        """Tell whether upstreams may ask anything, and no list would be cut down.

        Agents match answers by their ids: a list may come in the answer to another request.
        """
        known = self._open.get(grant.session)
        if known is not None and known[0] is grant and known[1] is policy:
            return known[2]
        if len(self._open) >= MAX_REMEMBERED:
            self._open.clear()
        subject, server = self.subject(grant), grant.upstream
        cut_down = grant.classes or self._catalog.is_pinned(server)
        found = not cut_down and permits_all(policy, subject, server, _ANYTHING)
        self._open[grant.session] = grant, policy, found
        return found

    # Tools --------------------------------------------------------------------------------------

    def _tool(self, policy: Policy, grant: Grant, envelope: Envelope, headers: Headers) -> Verdict:
        name = envelope.name
        pin = None if name is None else self._catalog.callable(grant.upstream, name)
        tool_class = None if pin is None else pin.tool_class
        action = action_of(grant.upstream, envelope, tool_class)
        if pin is None or action is None:
            return self._unknown(grant, envelope, "not pinned as it is now")
        if not _within(grant, tool_class):
            why = "the session's classes do not hold it"
            return self._deny(grant, envelope, why, None, pin)
        try:
            self._schemas.check_headers(pin, envelope, headers)
        except EnvelopeError as error:
            self._log("header_mismatch", grant, envelope, error.message)
            return Refused(error.body(), error.message, None, None, pin, error.status)
        if self._schemas.undeclared(pin, action.args):
            why = "arguments that the tool does not declare"
            return self._deny(grant, envelope, why, None, pin)
        subject = self.subject(grant)
        decision = decide(policy, subject, action)
        if decision.effect is Effect.ALLOW:
            return Passed(None, decision, pin)
        if decision.effect is Effect.REQUIRE_APPROVAL:
            return Asks(action, decision, pin, policy)
        if not visible(policy, subject, action):
            return self._unknown(grant, envelope, decision.why, decision.rule, pin)
        return self._deny(grant, envelope, decision.why, decision.rule, pin)

    @property
    def policy_digest(self) -> str:
        """The digest of the policy that holds now."""
        return self._policy().digest

    def declared(self, pin: Pin) -> Collection[str]:
        """Return the names of the arguments that a tool's pinned definition declares."""
        return self._schemas.declared(pin)

    # Lists and introductions --------------------------------------------------------------------

    def _list_filter(
        self, policy: Policy, grant: Grant, subject: Subject, method: str, listed: Listed
    ) -> Edit:
        def keep(entries: list[Any]) -> list[Any]:
            return [
                entry
                for entry in self._approved(grant.upstream, method, entries)
                if self._sees(policy, grant, subject, listed, entry)
            ]

        return lambda document: filtered(document, listed, keep)

    def lists(self, grant: Grant) -> Edit:
        """Return what cuts every list in an answer down to what the session may see.

        Whatever was asked: agents match answers by their id, so that a server could slip the list
        that one request waits for into the answer to another.
        """
        subject = self.subject(grant)

        def edit(document: Document) -> Document | None:
            policy = self._policy()  # as it is now: a stream lives for long
            changed = self._introduced(grant.upstream, document)
            for method, listed in LISTS.items():
                one = self._list_filter(policy, grant, subject, method, listed)
                changed = one(changed or document) or changed
            return changed

        return edit

    def _approved(self, upstream: str, method: str, entries: list[Any]) -> list[Any]:
        if method == "tools/list":
            return self._catalog.filter_tools(upstream, entries)
        kind = ItemKind.PROMPT if method == "prompts/list" else ItemKind.RESOURCE
        return self._catalog.filter_others(upstream, kind, entries)

    def _sees(
        self, policy: Policy, grant: Grant, subject: Subject, listed: Listed, entry: object
    ) -> bool:
        name, tool_class = entry_name(entry, listed), None
        if name is None:
            return False
        if listed.method == TOOL:
            pin = self._catalog.callable(grant.upstream, name)
            tool_class = None if pin is None else pin.tool_class
            if pin is None or not _within(grant, tool_class):
                return False
        action = Action(grant.upstream, listed.method, name, tool_class, None)
        return visible(policy, subject, action)

    def _readable(self, grant: Grant, action: Action) -> bool:
        kind = _READ.get(action.method)
        if kind is None or action.name is None:
            return True
        return self._catalog.readable(grant.upstream, kind, action.name)

    def _introduced(self, upstream: str, document: Document) -> Document | None:
        """Take out instructions that hide something and that nobody pinned."""
        result = document.get("result")
        text = result.get("instructions") if isinstance(result, dict) else None
        if not isinstance(text, str) or self._catalog.instructions_pass(upstream, text):
            return None
        kept = {name: value for name, value in document["result"].items() if name != "instructions"}
        return {**document, "result": kept}

    # Refusals -----------------------------------------------------------------------------------

    def _refuse(
        self, grant: Grant, envelope: Envelope, action: Action, decision: Decision
    ) -> Verdict:
        if decision.effect is Effect.REQUIRE_APPROVAL:
            # Permits are for tools: nobody can be shown what reading a resource would bring.
            return self._deny(grant, envelope, "only calls of tools can be approved", decision.rule)
        why = decision.why if decision.effect is Effect.DENY else "held back until it is pinned"
        return self._deny(grant, envelope, why, decision.rule)

    def _deny(
        self, grant: Grant, envelope: Envelope, why: str, rule: str | None, pin: Pin | None = None
    ) -> Refused:
        request = secrets.token_hex(8)
        self._log("denied", grant, envelope, why, rule=rule, request=request)
        method = envelope.method or ""
        return Refused(answers.denied(envelope.id, request, method), why, rule, request, pin)

    def _unknown(
        self,
        grant: Grant,
        envelope: Envelope,
        why: str,
        rule: str | None = None,
        pin: Pin | None = None,
    ) -> Refused:
        self._log("unknown_tool", grant, envelope, why)
        body = answers.unknown_tool(envelope.id, envelope.name)
        return Refused(body, why, rule, None, pin)

    def _log(
        self, event: str, grant: Grant, envelope: Envelope, why: str, **facts: str | None
    ) -> None:
        left_out = self._few.take(time.monotonic())
        if left_out is None:
            return  # an agent that goes on and on fills no disk
        if left_out:
            facts["left_out"] = str(left_out)
        name = None if envelope.name is None else ascii(envelope.name)[:128]
        log.warning(
            event,
            session=grant.session[:8],
            user=grant.user,
            agent=grant.agent,
            upstream=grant.upstream,
            method=envelope.method,
            name=name,
            why=why,
            **{key: value for key, value in facts.items() if value is not None},
        )


def _within(grant: Grant, tool_class: ToolClass | None) -> bool:
    """Tell whether a session's classes hold that of a tool.

    One that nobody classified, where pinning is off, could do anything: it counts as `admin`.
    """
    return not grant.classes or (tool_class or ToolClass.ADMIN) in grant.classes
