"""Records of calls: the intent before its stream opens, the completion when it is over.

On the way of every call: who calls what is spelled once and kept as bytes, and nothing is parsed
that was not parsed already. Without a log nothing is written down.
"""

import time
from hashlib import sha256
from typing import NamedTuple

from shared.audit.log import AuditLog
from shared.errors import NEVER_SENT, ResetCode
from shared.jsonrpc.canonical import canonical
from shared.jsonrpc.envelope import Envelope, Kind
from shared.jsonrpc.outcome import Look, Outcome, suspicious
from shared.policy.methods import TOOL
from shared.wire.tools import ToolWord
from tunnel_relay.clients.registry import Link
from tunnel_relay.gateway.answers import Cause
from tunnel_relay.gateway.call import Call

MAX_REMEMBERED = 4096
UNKNOWN = "delivery_unknown"
CANCELLED = "cancelled"
_RESULTS: dict[Cause, str] = {
    ResetCode.CANCELLED: CANCELLED,
    ResetCode.REVOKED: "revoked_in_flight",
    ResetCode.NO_GRANT: "revoked_in_flight",
    ResetCode.NEEDS_APPROVAL: "denied",
    ResetCode.REFUSED: "denied",
    ResetCode.TIMEOUT: "timeout",
    ResetCode.UPSTREAM_UNREACHABLE: "unreachable",
}
"""What is said of a call that ended early; of the rest nobody knows what the upstream did."""
_MAY_CHANGE = frozenset({"tasks/update"})
_INTENT = b'{"body":"%b","call":"%b","kind":"call.intent","seq":%d,"time":%d,"v":1,%b}'
_COMPLETION = (
    b'{"bytes":%d,"call":"%b","delivery":"%b","intent":%d,"kind":"call.completion","result":"%b",'
    b'"seq":%d,"status":%d,"time":%d,"us":%d,"v":1}'
)


class Written:
    """One call whose intent is written down, until its completion is."""

    __slots__ = ("_began", "_bytes", "_delivery", "_log", "_look", "_name", "_result", "_seq")

    def __init__(self, log: AuditLog, name: bytes, seq: int) -> None:
        self._log = log
        self._name = name
        self._seq = seq
        self._began = time.monotonic()
        self._bytes = 0
        self._look: Look | None = None
        self._result, self._delivery = UNKNOWN, b"unknown"

    def data(self, chunk: bytes, end: bool, status: int, events: bool) -> None:
        """Some of the answer goes to the agent, all that is left of it with `end`."""
        self._bytes += len(chunk)
        look = self._look
        if look is None:
            if end and not suspicious(chunk):
                self._answered(Outcome.OK, status)
                return
            look = self._look = Look(events=events)
        look.feed(chunk)
        if end:
            self._answered(look.end(), status)

    def _answered(self, outcome: Outcome, status: int) -> None:
        if outcome is Outcome.OK and status >= 400:
            outcome = Outcome.PROTOCOL_ERROR
        self._result, self._delivery = outcome.value, b"done"

    def failed(self, cause: Cause) -> None:
        """The call ends early."""
        self._result = _RESULTS.get(cause, UNKNOWN)
        if cause in NEVER_SENT:
            self._delivery = b"never_sent"

    def over(self, status: int) -> None:
        """Write down how it ended."""
        took = int((time.monotonic() - self._began) * 1e6)
        self._log.take_late(
            _COMPLETION
            % (
                *(self._bytes, self._name, self._delivery, self._seq, self._result.encode()),
                *(self._log.size, status, time.time_ns() // 1000, took),
            )
        )


class _Known(NamedTuple):
    """What is the same for the calls of one session to one tool, and what that rests on."""

    tool: ToolWord | None
    policy: str
    changes: bool
    said: bytes
    """`what`, `who` and `why`, as they end a record."""


class Calls:
    """Writes what becomes of the calls of one relay.

    `reads_without`: what changes nothing may go on while the log cannot be written.
    """

    def __init__(self, log: AuditLog | None = None, *, reads_without: bool = False) -> None:
        self._log = log
        self._reads_without = reads_without
        self._known: dict[tuple[str, bytes, str | None, str, bool], _Known] = {}

    @property
    def failing(self) -> str | None:
        """Why the log cannot be written, None while it can."""
        return None if self._log is None else self._log.failing

    def intend(
        self, call: Call, envelope: Envelope | None, link: Link, policy: str
    ) -> tuple[bool, Written | None]:
        """Write down that a call is about to be sent: may it be, and what then records its end."""
        log = self._log
        if log is None:
            return True, None
        known = self._of(call, envelope, link, policy)
        goes_without = self._reads_without and not known.changes
        if log.failing is not None:
            return goes_without, None
        driver = link.driver
        name = b"%b.%d" % (driver.link.encode(), driver.next_stream)
        digest = sha256(call.request.body).hexdigest().encode()
        seq = log.take_late(_INTENT % (digest, name, log.size, time.time_ns() // 1000, known.said))
        written = Written(log, name, seq)
        if log.flush() is None or goes_without:
            return True, written
        written.failed(ResetCode.REFUSED)
        written.over(0)
        return False, None

    def _of(self, call: Call, envelope: Envelope | None, link: Link, policy: str) -> _Known:
        session, method, tool = call.session, None, None
        if envelope is not None:
            method = envelope.method
            if method == TOOL:
                tool = link.tool(session.upstream, envelope.name or "")
        permitted = bool(call.permit)
        # An agent may call what does not exist: only a name that the client told is repeated.
        name = "" if tool is None else tool.name
        key = (session.id, call.request.method, method, name, permitted)
        known = self._known.get(key)
        if known is not None and known.tool is tool and known.policy == policy:
            return known
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        changes = permitted or _changes(envelope, tool)
        facts = _facts(call, envelope, tool, policy)
        known = self._known[key] = _Known(tool, policy, changes, facts)
        return known


def _changes(envelope: Envelope | None, tool: ToolWord | None) -> bool:
    """Tell whether a request may change something; a tool that nobody classified could."""
    if envelope is None:
        return False
    if envelope.method == TOOL:
        return tool is None or tool.kind is None or tool.kind.changes
    return envelope.kind is Kind.RESPONSE or envelope.method in _MAY_CHANGE


def _facts(call: Call, envelope: Envelope | None, tool: ToolWord | None, policy: str) -> bytes:
    session = call.session
    what: dict[str, object] = {"http": call.request.method.decode(), "server": session.upstream}
    if envelope is not None:
        what["method"] = envelope.method if envelope.method is not None else "response"
    if tool is not None:
        kind = None if tool.kind is None else tool.kind.value
        what |= {"class": kind, "definition": tool.sha256, "name": tool.name}
    who = {"agent": session.agent, "session": session.id, "user": session.user}
    decided = "permitted" if call.permit else "allow"
    why = {"decision": decided, "policy": policy}
    return b'"what":%b,"who":%b,"why":%b' % (canonical(what), canonical(who), canonical(why))
