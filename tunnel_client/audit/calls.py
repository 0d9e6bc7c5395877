"""Records of calls: the intent before anything leaves, the completion when it is over.

On the way of every call: what repeats is spelled once and kept as bytes, and nothing is parsed
that was not parsed already. Without a log nothing is written down.
"""

import time

from shared.audit.log import AuditLog, Tell
from shared.audit.private import AuditError
from shared.errors import ResetCode
from shared.grant import Grant
from shared.jsonrpc.outcome import Look, Outcome, suspicious
from shared.wire.codec import OpenHead
from tunnel_client.audit.spelling import Spelling, spelled_completion
from tunnel_client.judge import Asks, Passed, Verdict
from tunnel_client.upstream.base import Headers, UpstreamRequest, is_event_stream

UNKNOWN = "delivery_unknown"
_RESULTS = {
    ResetCode.CANCELLED: "cancelled",
    ResetCode.REVOKED: "revoked_in_flight",
    ResetCode.NO_GRANT: "revoked_in_flight",
    ResetCode.TIMEOUT: "timeout",
    ResetCode.UPSTREAM_UNREACHABLE: "unreachable",
}
"""What is said of an exchange that ended early; of the rest nobody knows what the upstream did."""
_ANSWERED = frozenset(Outcome)


class Call:
    """One exchange whose intent is written down, until its completion is."""

    __slots__ = (
        *("_began", "_bytes", "_calls", "_headers", "_look", "_result", "_seq", "_status"),
        *("dispatched", "hits", "name", "waits"),
    )

    def __init__(self, calls: "Calls", name: str, seq: int, waits: bool) -> None:
        self._calls = calls
        self.name = name
        self._seq = seq
        self.waits = waits
        """Must the intent be on the disk before anything leaves?"""
        self._began = time.monotonic()
        self._bytes = self._status = 0
        self._headers: Headers = []
        self._look: Look | None = None
        self._result: str | None = None
        self.dispatched = False
        self.hits = 0

    def when_durable(self, tell: Tell) -> None:
        """Have `tell` called when the intent is on the disk: with None, or with why it is not."""
        self._calls.when_durable(self._seq, tell)

    def head(self, status: int, headers: Headers) -> None:
        """The answer begins."""
        self._status = status
        self._headers = headers

    def data(self, chunk: bytes, end: bool) -> None:
        """Some of the answer goes on its way, all that is left of it with `end`."""
        self._bytes += len(chunk)
        look = self._look
        if look is None:
            if end and not suspicious(chunk):
                self._answered(Outcome.OK)
                return
            look = self._look = Look(events=is_event_stream(self._headers))
        look.feed(chunk)
        if end:
            self._answered(look.end())

    def _answered(self, outcome: Outcome) -> None:
        if outcome is Outcome.OK and self._status >= 400:
            outcome = Outcome.PROTOCOL_ERROR
        self._result = outcome

    def failed(self, code: ResetCode) -> None:
        """The exchange ends early, by this side."""
        self._result = _RESULTS.get(code, UNKNOWN)

    def cut(self, code: ResetCode, *, lost: bool) -> None:
        """The exchange ends early, by the other side; `lost`: the link is gone."""
        self._result = UNKNOWN if lost else _RESULTS.get(code, UNKNOWN)

    def over(self) -> None:
        """Write down how it ended."""
        delivery = "never_sent" if not self.dispatched else "unknown"
        if self._result in _ANSWERED:
            delivery = "done"
        took = int((time.monotonic() - self._began) * 1e6)
        facts = (self._bytes, self.name, delivery, self._seq, self._result or UNKNOWN)
        self._calls.completed(facts, self.hits, self._status, took)


class Unrecorded(Call):
    """An exchange of which nothing is written down."""

    __slots__ = ()

    def __init__(self) -> None:
        self.waits = self.dispatched = False
        self.hits = 0

    def when_durable(self, tell: Tell) -> None:
        tell(None)

    def head(self, status: int, headers: Headers) -> None: ...

    def data(self, chunk: bytes, end: bool) -> None: ...

    def failed(self, code: ResetCode) -> None: ...

    def cut(self, code: ResetCode, *, lost: bool) -> None: ...

    def over(self) -> None: ...


UNRECORDED = Unrecorded()


class Calls:
    """Writes what becomes of the exchanges of one client.

    `reads_without`: what changes nothing may go on while the log cannot be written.
    """

    def __init__(
        self,
        log: AuditLog | None = None,
        spelling: Spelling | None = None,
        *,
        reads_without: bool = False,
    ) -> None:
        self._log = log
        self._spelling = spelling
        self._reads_without = reads_without
        self.unrecorded = 0
        """Exchanges that went on although they could not be written down."""

    def intend(
        self,
        link: str,
        stream: int,
        grant: Grant,
        request: UpstreamRequest,
        verdict: Passed | Asks,
        permit: str = "",
    ) -> Call | None:
        """Write down what is about to happen; None: it must not happen."""
        log, spelling = self._log, self._spelling
        if log is None or spelling is None:
            return UNRECORDED
        waits = bool(permit) or spelling.changes(request.envelope, verdict.pin)
        name = f"{link}.{stream}"
        try:
            seq = log.write(spelling.intent(name, grant, request, verdict, permit))
        except AuditError:
            if waits or not self._reads_without:
                return None
            self.unrecorded += 1
            return UNRECORDED
        return Call(self, name, seq, waits)

    def when_durable(self, seq: int, tell: Tell) -> None:
        """Have `tell` called when a record is on the disk, or cannot be."""
        if self._log is not None:
            self._log.durable(seq, tell)

    def completed(
        self, facts: tuple[int, str, str, int, str], hits: int, status: int, took: int
    ) -> None:
        """Write down how an exchange ended."""
        if self._log is not None:
            self._log.put(spelled_completion(facts, hits, status, took))

    def refused(
        self,
        link: str,
        stream: int,
        why: str,
        head: OpenHead | None = None,
        grant: Grant | None = None,
        request: UpstreamRequest | None = None,
        verdict: Verdict | None = None,
    ) -> Call:
        """Write down that nothing of an exchange reaches its upstream."""
        if self._log is not None and self._spelling is not None:
            facts = self._spelling.refused(why, head, grant, request, verdict)
            self._log.add("call.refused", {"call": f"{link}.{stream}", **facts})
        return UNRECORDED
