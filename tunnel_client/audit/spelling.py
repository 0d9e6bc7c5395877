"""How calls are spelled in records: canonical JSON, made of bytes that are kept.

Who calls, what is called and why it may be are the same for many calls: each is spelled once. The
order of the keys of a record is the canonical one, so an intent is one `%`.
"""

import hashlib
from typing import Any

from shared.audit.claims import claimed, trace_of
from shared.audit.log import Make
from shared.audit.redact import LARGE, MAX_BODY, NOTHING, Redactor
from shared.grant import Grant
from shared.jsonrpc.canonical import canonical
from shared.jsonrpc.envelope import Envelope, Kind
from shared.permit import PermitError, decode
from shared.policy.methods import TOOL
from shared.policy.model import Decision
from shared.wire.codec import OpenHead
from tunnel_client.catalog.pins import Pin
from tunnel_client.catalog.scan import TOOL_NAME
from tunnel_client.judge import Asks, Judge, Passed, Refused, Verdict
from tunnel_client.upstream.base import UpstreamRequest

MAX_REMEMBERED = 4096
_MAY_CHANGE = frozenset({"tasks/update"})
_NAMED = frozenset({TOOL, "prompts/get"})
"""Methods whose name is no value of the agent's: a URI may hold anything."""
_OTHERS = ("uri", "taskId", "ref", "argument", "inputResponses", "requestState")
_INTENT = (
    b'{%b"arguments":%b,"body":"%b","call":"%b","kind":"call.intent","seq":%d,"time":%d,'
    b'%b"v":1,"what":%b,"who":%b,"why":%b}'
)
_COMPLETION = (
    b'{"bytes":%d,"call":"%b","delivery":"%b","intent":%d,"kind":"call.completion","result":"%b",'
    b'"scrub_hits":%d,"seq":%d,"status":%d,"time":%d,"us":%d,"v":1}'
)


def spelled_completion(
    facts: tuple[int, str, str, int, str], hits: int, status: int, took: int
) -> Make:
    """Return what spells a completion; `took` in microseconds."""
    size, call, delivery, intent, result = facts

    def make(seq: int, now: int) -> bytes:
        said = (size, call.encode(), delivery.encode(), intent, result.encode())
        return _COMPLETION % (*said, hits, seq, status, now, took)

    return make


class Spelling:
    """Spells calls for one client."""

    def __init__(self, redactor: Redactor, judge: Judge) -> None:
        self._redactor = redactor
        self._judge = judge
        self._claims: dict[str, str] = {}
        self._who: dict[tuple[str, str | None], tuple[Grant, bytes]] = {}
        self._what: dict[tuple[str | None, ...], bytes] = {}
        self._why: dict[tuple[str | None, ...], bytes] = {}

    def changes(self, envelope: Envelope | None, pin: Pin | None) -> bool:
        """Tell whether a request may change something, so that its intent has to be on the disk.

        A tool that nobody classified could do anything.
        """
        if envelope is None:
            return False
        if envelope.method == TOOL:
            return pin is None or pin.tool_class is None or pin.tool_class.changes
        return envelope.kind is Kind.RESPONSE or envelope.method in _MAY_CHANGE

    def intent(
        self,
        call: str,
        grant: Grant,
        request: UpstreamRequest,
        verdict: Passed | Asks,
        permit: str,
    ) -> Make:
        """Return what spells the intent of a call."""
        envelope, pin = request.envelope, verdict.pin
        trace = trace_of(envelope, request.headers)
        parts = (
            _approval(permit) if permit else b"",
            self._arguments(grant, request, pin),
            hashlib.sha256(request.body).hexdigest().encode(),
            call.encode(),
        )
        rest = (
            b'"trace":"%b",' % trace.encode() if trace is not None else b"",
            self._whats(grant.upstream, request, pin),
            self._whos(grant, envelope),
            self._whys(verdict.decision),
        )
        return lambda seq, now: _INTENT % (*parts, seq, now, *rest)

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
            facts["body"] = "" if request is None else hashlib.sha256(request.body).hexdigest()
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

    def _arguments(self, grant: Grant, request: UpstreamRequest, pin: Pin | None) -> bytes:
        envelope = request.envelope
        params = None if envelope is None else envelope.params
        if envelope is None or not params:
            return NOTHING
        if len(request.body) > MAX_BODY:
            return LARGE
        tool_class = "read" if pin is None or pin.tool_class is None else pin.tool_class.value
        if envelope.method == TOOL:
            declared = () if pin is None else self._judge.declared(pin)
            tool = f"{grant.upstream}/{envelope.name}"
            return self._redactor.arguments(params.get("arguments"), declared, tool_class, tool)
        if envelope.method in _NAMED:
            return self._redactor.arguments(params.get("arguments"), (), tool_class, "")
        found = {name: params[name] for name in _OTHERS if name in params}
        return self._redactor.arguments(found, _OTHERS, "read", "") if found else NOTHING

    def _whats(self, server: str, request: UpstreamRequest, pin: Pin | None) -> bytes:
        envelope = request.envelope
        method = request.method if envelope is None else envelope.method
        name = None if envelope is None else envelope.name
        # A pin of a tool that nobody pinned is new for each call: what it says is the key.
        key = (server, method, name, *(("", None) if pin is None else (pin.sha256, pin.tool_class)))
        found = self._what.get(key)
        if found is None:
            found = canonical(self._what_facts(server, request, pin))
            _remember(self._what, key, found)
        return found

    def _what_facts(self, server: str, request: UpstreamRequest, pin: Pin | None) -> dict[str, Any]:
        envelope = request.envelope
        facts: dict[str, Any] = {"http": request.method, "server": server}
        if envelope is None:
            return facts
        facts["method"] = envelope.method if envelope.method is not None else "response"
        if envelope.name is not None and envelope.method in _NAMED:
            # An agent may call what does not exist: only what could be a name is repeated.
            plain = TOOL_NAME.fullmatch(envelope.name) is not None
            facts["name"] = envelope.name if plain else {"hmac": self._redactor.tag(envelope.name)}
        if pin is not None:
            facts["class"] = None if pin.tool_class is None else pin.tool_class.value
            facts["definition"] = pin.sha256
        return facts

    def _whos(self, grant: Grant, envelope: Envelope | None) -> bytes:
        claim = None if envelope is None else self._claim(grant, envelope)
        key = grant.session, claim
        known = self._who.get(key)
        if known is not None and known[0] is grant:
            return known[1]
        found = canonical(_who_facts(grant, claim))
        _remember(self._who, key, (grant, found))
        return found

    def _claim(self, grant: Grant, envelope: Envelope) -> str | None:
        """Return what the agent says it is: in this request, or when it began."""
        said = claimed(envelope)
        if said is None:
            return self._claims.get(grant.session)
        if self._claims.get(grant.session) != said:
            _remember(self._claims, grant.session, said)
        return said

    def _whys(self, decision: Decision | None) -> bytes:
        policy = self._judge.policy_digest
        rule, why = (None, "free") if decision is None else (decision.rule, decision.why)
        effect = "allow" if decision is None else decision.effect.value
        key = policy, effect, rule, why
        found = self._why.get(key)
        if found is None:
            facts = {"by": why, "decision": effect, "policy": policy, "rule": rule}
            found = canonical(facts)
            _remember(self._why, key, found)
        return found


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
    return b'"approval":%b,' % canonical(facts)


def _remember(table: dict[Any, Any], key: Any, value: Any) -> None:
    if len(table) >= MAX_REMEMBERED:
        table.clear()
    table[key] = value
