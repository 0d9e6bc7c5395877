"""Records of calls: the intent before its stream opens, the completion when it is over.

On the way of every call: who calls what is spelled once and kept as bytes, and nothing is parsed
that was not parsed already. Without a log nothing is written down.
"""

import time
from binascii import hexlify
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from shared.audit.claims import trace_of
from shared.audit.log import AuditLog
from shared.errors import NEVER_SENT, ResetCode
from shared.jsonrpc.envelope import Envelope, Kind
from shared.jsonrpc.outcome import Look, Outcome, suspicious
from shared.link.driver import LinkDriver
from shared.permit import decode
from shared.policy.methods import TOOL
from shared.policy.model import why_facts
from shared.record.encode import before, said, traced
from shared.wire.tools import ToolWord
from tunnel_relay.audit.saying import Claims, tool_facts
from tunnel_relay.clients.link import Link
from tunnel_relay.gateway.answers import Cause
from tunnel_relay.gateway.call import Call

if TYPE_CHECKING:
    from tunnel_relay.gateway.exchange import Exchange

MAX_REMEMBERED = 4096
UNKNOWN = b"delivery_unknown"
_RESULTS: dict[Cause, bytes] = {
    ResetCode.CANCELLED: b"cancelled",
    ResetCode.REVOKED: b"revoked_in_flight",
    ResetCode.NO_GRANT: b"revoked_in_flight",
    ResetCode.NEEDS_APPROVAL: b"denied",
    ResetCode.REFUSED: b"denied",
    ResetCode.TIMEOUT: b"timeout",
    ResetCode.UPSTREAM_UNREACHABLE: b"unreachable",
}
"""What is said of a call that ended early; of the rest nobody knows what the upstream did."""
_MAY_CHANGE = frozenset({"tasks/update"})
_OK, _FAULT = b"ok", b"protocol_error"
_INTENT = b'{%b"body":"%b","call":"%b","kind":"call.intent","seq":%d,"time":%d,%b"v":1,%b}'
_COMPLETION = (
    b'{"bytes":%d,"call":"%b","delivery":"%b","intent":%d,"kind":"call.completion","result":"%b",'
    b'"seq":%d,"status":%d,"time":%d,"us":%d,"v":1}'
)


class Written:
    """One call whose intent is written down, until its completion is."""

    # Most never change these: as members of the class they cost nothing.
    _bytes = 0
    _look: Look | None = None
    _result = UNKNOWN
    _delivery = b"unknown"

    def __init__(self, log: AuditLog, name: bytes, seq: int, began: float) -> None:
        self._log = log
        self._name = name
        self._seq = seq
        self._began = began

    def data(self, chunk: bytes, end: bool, status: int, events: bool) -> None:
        """Some of the answer goes to the agent, all that is left of it with `end`."""
        self._bytes += len(chunk)
        look = self._look
        if look is None:
            if end and not suspicious(chunk):
                self._result = _OK if status < 400 else _FAULT
                self._delivery = b"done"
                return
            look = self._look = Look(events=events)
        look.feed(chunk)
        if end:
            outcome = look.end()
            if outcome is Outcome.OK and status >= 400:
                outcome = Outcome.PROTOCOL_ERROR
            self._result, self._delivery = outcome.encode(), b"done"

    def failed(self, cause: Cause) -> None:
        """The call ends early."""
        self._result = _RESULTS.get(cause, UNKNOWN)
        if cause in NEVER_SENT:
            self._delivery = b"never_sent"

    def over(self, status: int) -> None:
        """Write down how it ended."""
        log = self._log
        log.take_late(
            _COMPLETION
            % (
                self._bytes,
                self._name,
                self._delivery,
                self._seq,
                self._result,
                log.size,
                status,
                time.time_ns() // 1000,
                (time.monotonic() - self._began) * 1e6,
            )
        )


class Known(NamedTuple):
    """What is the same for the calls of one session to one tool, and what that rests on."""

    tool: ToolWord | None
    policy: str
    changes: bool
    said: bytes
    """`what`, `who` and `why`, as they end a record."""


_Key = tuple[str, str | bytes | None, str, str | None, bool, str | None]
_Ready = tuple["Exchange", bytes, bytes, Known]


class Calls:
    """Writes what becomes of the calls of one relay.

    `reads_without`: what changes nothing may go on while the log cannot be written.
    """

    def __init__(
        self,
        log: AuditLog | None = None,
        claims: Claims | None = None,
        *,
        reads_without: bool = False,
    ) -> None:
        self._log = log
        self._claims = claims or Claims()
        self._reads_without = reads_without
        self._known: dict[_Key, Known] = {}
        self._ready: dict[LinkDriver, list[_Ready]] = {}

    @property
    def failing(self) -> str | None:
        """Why the log cannot be written, None while it can."""
        return None if self._log is None else self._log.failing

    def known(self, call: Call, envelope: Envelope | None, link: Link, policy: str) -> Known | bool:
        """Return what is written down of such a call; else whether it may go on without."""
        log = self._log
        if log is None:
            return True
        known = self._of(call, envelope, link, policy)
        trace = trace_of(envelope, call.request.trace)
        if trace is not None:
            call.trace = traced(trace)
        if log.failing is not None:
            return self._reads_without and not known.changes
        return known

    def when_written(
        self, exchange: "Exchange", driver: LinkDriver, head: bytes, body: bytes, known: Known
    ) -> None:
        """Have the stream of a call opened once its intent is written, in this turn of the loop.

        All calls of a turn share one `write(2)`, which comes before the one that sends them.
        """
        ready = self._ready.get(driver)
        if ready is None:
            ready = self._ready[driver] = []
            driver.at_turn_end(partial(self._written, driver))
        ready.append((exchange, head, body, known))

    def _written(self, driver: LinkDriver) -> None:
        ready = [each for each in self._ready.pop(driver) if not each[0].done]
        log = self._log
        if log is None or not ready:
            return
        if driver.lost:
            for exchange, _, _, _ in ready:
                exchange.unsent(ResetCode.REFUSED)
            return
        # Nobody else opens a stream before those of this turn are: their numbers are known.
        number, link = driver.next_stream, driver.link.encode()
        now, began = time.time_ns() // 1000, time.monotonic()
        intents: list[int] = []
        for exchange, _, body, known in ready:
            name = b"%b.%d" % (link, number)
            number += 1
            digest = hexlify(sha256(body).digest())
            permit = exchange.call.permit
            approval = _approval(permit) if permit else b""
            trace = exchange.call.trace
            seq = log.take_late(
                _INTENT % (approval, digest, name, log.size, now, trace, known.said)
            )
            exchange.written = Written(log, name, seq, began)
            intents.append(seq)
        why = log.flush()
        for (exchange, head, body, known), seq in zip(ready, intents, strict=True):
            named = driver.next_stream
            if why is None and known.changes:
                # The number is taken now, so that both logs say the same; the body waits for the
                # disk, and what has no body the client hands to nobody.
                exchange.begin(head)
                log.durable(seq, partial(exchange.go_on, body))
            elif why is None or (self._reads_without and not known.changes):
                exchange.open(head, body)
            else:
                exchange.unsent(None)
            if driver.next_stream == named:
                driver.skip()  # its intent is owed: no other call may have its name

    def _of(self, call: Call, envelope: Envelope | None, link: Link, policy: str) -> Known:
        session, tool = call.session, None
        method: str | bytes | None
        if envelope is None:
            method = call.request.method
        else:
            method = envelope.method
            if method == TOOL:
                tool = link.tool(session.upstream, envelope.name or "")
        permitted = bool(call.permit)
        # An agent may call what does not exist: only a name that the client told is repeated.
        claim = self._claims.of(session.id, call.request, envelope)
        rule = None if call.decision is None else call.decision.rule
        key = (session.id, method, "" if tool is None else tool.name, rule, permitted, claim)
        known = self._known.get(key)
        if known is not None and known.tool is tool and known.policy == policy:
            return known
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        changes = permitted or _changes(envelope, tool)
        facts = _facts(call, envelope, tool, policy, claim)
        known = self._known[key] = Known(tool, policy, changes, facts)
        return known


def _approval(permit: str) -> bytes:
    """Return the member of an intent that says who permitted it, by which approval."""
    signed = decode(permit)  # made here, a moment ago
    return before(
        {
            "approvers": list(signed.approvers),
            "arguments": signed.permit.arguments,
            "id": signed.permit.id,
            "keys": sorted(signed.signatures),
        }
    )


def _changes(envelope: Envelope | None, tool: ToolWord | None) -> bool:
    """Tell whether a request may change something; a tool that nobody classified could."""
    if envelope is None:
        return False
    if envelope.method == TOOL:
        return tool is None or tool.kind is None or tool.kind.changes
    return envelope.kind is Kind.RESPONSE or envelope.method in _MAY_CHANGE


def _facts(
    call: Call, envelope: Envelope | None, tool: ToolWord | None, policy: str, claim: str | None
) -> bytes:
    session = call.session
    what: dict[str, object] = {"http": call.request.method.decode(), "server": session.upstream}
    if envelope is not None:
        what["method"] = envelope.method if envelope.method is not None else "response"
    if tool is not None:
        what |= tool_facts(tool)
    who = {
        "agent": session.agent,
        "claimed": claim,
        "session": session.id,
        "user": session.user,
    }
    return said(what, who, why_facts(call.decision, policy))
