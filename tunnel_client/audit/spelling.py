"""How calls are spelled in records: canonical JSON, made of bytes that are kept.

Who calls, what is called and why it may be are the same for many calls: each is spelled once. The
order of the keys of a record is the canonical one, so an intent is one `%`.
"""

from binascii import hexlify
from hashlib import sha256
from typing import Any, NamedTuple

from shared.audit.claims import claimed, trace_header, trace_of
from shared.grant import Grant
from shared.jsonrpc.envelope import Envelope, Kind
from shared.permit import PermitError, decode
from shared.policy.methods import TOOL, TOOL_NAME
from shared.policy.model import Decision, why_facts
from shared.record.encode import INTENT, before, said, traced
from shared.record.redact import LARGE, MAX_BODY, NOTHING, Fields, Redactor
from shared.wire.codec import OpenHead
from tunnel_client.catalog.pins import Pin
from tunnel_client.judge import Asks, Judge, Passed, Refused, Verdict
from tunnel_client.upstream.base import Headers, UpstreamRequest

MAX_REMEMBERED = 4096
_MAY_CHANGE = frozenset({"tasks/update"})
_NAMED = frozenset({TOOL, "prompts/get"})
"""Methods whose name is no value of the agent's: a URI may hold anything."""
_OTHERS = ("uri", "taskId", "ref", "argument", "inputResponses", "requestState")


class Known(NamedTuple):
    """What is the same for the calls of one session to one tool, and what that rests on."""

    grant: Grant
    claim: str | None
    pin: Pin | None
    decision: Decision | None
    policy: str
    said: bytes
    """`what`, `who` and `why`, as they end a record."""
    waits: bool
    fields: Fields


class Spelling:
    """Spells calls for one client."""

    def __init__(self, redactor: Redactor, judge: Judge) -> None:
        self._redactor = redactor
        self._judge = judge
        self._others = redactor.fields(_OTHERS, "read", "")
        self._headers: Headers | None = None
        self._traced = b""
        """What was found in headers that were looked at last."""
        self._claims: dict[str, str] = {}
        self._known: dict[tuple[str, str | None, str | None], Known] = {}

    def changes(self, envelope: Envelope | None, pin: Pin | None) -> bool:
        """Tell whether a request may change something, so that its intent has to be on the disk.

        A tool that nobody classified could do anything.
        """
        if envelope is None:
            return False
        if envelope.method == TOOL:
            return pin is None or pin.tool_class is None or pin.tool_class.changes
        return envelope.kind is Kind.RESPONSE or envelope.method in _MAY_CHANGE

    def known(self, grant: Grant, request: UpstreamRequest, verdict: Passed | Asks) -> Known:
        """Return what is known of such calls; found anew when anything that it rests on changed."""
        envelope, pin, decision = request.envelope, verdict.pin, verdict.decision
        policy = self._judge.policy_digest
        key: tuple[str, str | None, str | None]
        if envelope is None:
            claim, key = self._claims.get(grant.session), (grant.session, request.method, None)
        else:
            claim = self._claim(grant, envelope)
            key = (grant.session, envelope.method, envelope.name)
        known = self._known.get(key)
        if (
            known is not None
            and known.grant is grant
            and known.policy is policy
            and known.claim == claim
            and (known.pin is pin or known.pin == pin)
            and (known.decision is decision or known.decision == decision)
        ):
            return known
        known = self._make(grant, request, pin, decision, claim)
        _remember(self._known, key, known)
        return known

    def _make(
        self,
        grant: Grant,
        request: UpstreamRequest,
        pin: Pin | None,
        decision: Decision | None,
        claim: str | None,
    ) -> Known:
        envelope, policy = request.envelope, self._judge.policy_digest
        what = self._what_facts(grant.upstream, request, pin)
        spelled = said(what, _who_facts(grant, claim), why_facts(decision, policy))
        tool_class = "read" if pin is None or pin.tool_class is None else pin.tool_class.value
        declared = () if pin is None else self._judge.declared(pin)
        tool = f"{grant.upstream}/{None if envelope is None else envelope.name}"
        return Known(
            *(grant, claim, pin, decision, policy, spelled),
            waits=self.changes(envelope, pin),
            fields=self._redactor.fields(declared, tool_class, tool),
        )

    def intent(
        self,
        call: bytes,
        seq: int,
        now: int,
        known: Known,
        request: UpstreamRequest,
        permit: str,
    ) -> bytes:
        """Return the record of what is about to happen; `now`: microseconds since 1970."""
        return INTENT % (
            _approval(permit) if permit else b"",
            self._arguments(known, request),
            hexlify(sha256(request.body).digest()),
            call,
            seq,
            now,
            self._trace(request),
            known.said,
        )

    def _trace(self, request: UpstreamRequest) -> bytes:
        """Return the member that names the trace; the headers of an agent's calls are one list."""
        headers, envelope = request.headers, request.envelope
        quiet = envelope is None or not envelope.params or "_meta" not in envelope.params
        if quiet and headers is self._headers:
            return self._traced
        trace = trace_of(envelope, trace_header(headers))
        member = b"" if trace is None else traced(trace)
        if quiet:
            self._headers, self._traced = headers, member
        return member

    def refused(
        self,
        why: str,
        head: OpenHead | None,
        grant: Grant | None,
        request: UpstreamRequest | None,
        verdict: Verdict | None,
    ) -> dict[str, Any]:
        """Return the facts of what goes no further."""
        facts: dict[str, Any] = {"reason": why}
        decided: dict[str, Any] = {"decision": "deny", "policy": self._judge.policy_digest}
        envelope, pin = None if request is None else request.envelope, None
        if verdict is not None:
            pin = verdict.pin
            facts["body"] = "" if request is None else sha256(request.body).hexdigest()
        if isinstance(verdict, Refused):
            decided["rule"] = verdict.rule
            if verdict.request is not None:
                facts["request"] = verdict.request
        elif isinstance(verdict, Asks):
            decided |= {"decision": "require_approval", "rule": verdict.decision.rule}
        if grant is not None:
            claim = None if envelope is None else self._claim(grant, envelope)
            facts["who"] = _who_facts(grant, claim)
        elif head is not None:
            facts["who"] = {"session": head.session}
        server = head.upstream if head is not None else ""
        facts["what"] = self._what_facts(server, request, pin) if request else {"server": server}
        return {**facts, "why": decided}

    # What a record is made of --------------------------------------------------------------------

    def _arguments(self, known: Known, request: UpstreamRequest) -> bytes:
        envelope = request.envelope
        params = None if envelope is None else envelope.params
        if envelope is None or not params:
            return NOTHING
        size = len(request.body)
        if size > MAX_BODY:
            return LARGE % size
        if envelope.method in _NAMED:
            given = params.get("arguments")
            if not given:
                return NOTHING
            return self._redactor.arguments(given, known.fields, size)
        found = {name: params[name] for name in _OTHERS if name in params}
        return self._redactor.arguments(found, self._others, size) if found else NOTHING

    def _what_facts(self, server: str, request: UpstreamRequest, pin: Pin | None) -> dict[str, Any]:
        envelope = request.envelope
        facts: dict[str, Any] = {"http": request.method, "server": server}
        if envelope is None:
            return facts
        facts["method"] = envelope.method if envelope.method is not None else "response"
        if envelope.name is not None and envelope.method in _NAMED:
            # An agent may call what does not exist: only what could be a name is repeated.
            plain = TOOL_NAME.fullmatch(envelope.name) is not None
            facts["name"] = envelope.name if plain else self._redactor.tag(envelope.name)
        if pin is not None:
            facts["class"] = None if pin.tool_class is None else pin.tool_class.value
            facts["definition"] = pin.sha256
        return facts

    def _claim(self, grant: Grant, envelope: Envelope) -> str | None:
        """Return what the agent says it is: in this request, or when it began."""
        params = envelope.params
        if params and "_meta" not in params and envelope.method != "initialize":
            return self._claims.get(grant.session)
        told = claimed(envelope)
        if told is None:
            return self._claims.get(grant.session)
        if self._claims.get(grant.session) != told:
            _remember(self._claims, grant.session, told)
        return told


def _who_facts(grant: Grant, claim: str | None) -> dict[str, Any]:
    return {
        "agent": grant.agent,
        "claimed": claim,
        "session": grant.session,
        "user": grant.user,
    }


def _approval(permit: str) -> bytes:
    """Return the member of an intent that says who permitted it, by which approval."""
    try:
        signed = decode(permit)
    except PermitError:
        return b""
    facts = {
        "approvers": list(signed.approvers),
        "arguments": signed.permit.arguments,
        "id": signed.permit.id,
        "keys": sorted(signed.signatures),
    }
    return before(facts)


def _remember(table: dict[Any, Any], key: Any, value: Any) -> None:
    if len(table) >= MAX_REMEMBERED:
        table.clear()
    table[key] = value
