"""Records of requests that go no further: one for each of a session's, strangers' counted together.

What a session is refused beyond a share of records a minute is counted too: it fills no disk, and
nothing of it is left out.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import jiter

from shared.jsonrpc.envelope import Envelope
from shared.policy.methods import TOOL
from shared.wire.tools import ToolWord
from tunnel_relay.audit.keep import Records
from tunnel_relay.audit.saying import Claims, tool_facts
from tunnel_relay.gateway.answers import Answer, Why
from tunnel_relay.gateway.call import Call
from tunnel_relay.gateway.checks import Request
from tunnel_relay.gateway.responses import peer_of
from tunnel_relay.store.base import Session

REFUSED = "call.refused"
UNAUTHENTICATED = "call.unauthenticated"
OF_SESSION = 60
"""Records of one session in a minute; what is refused beyond them is counted together."""
MINUTE = 60.0
MAX_SESSIONS = 16_384
"""Sessions with records of their own in a minute."""
MAX_REASON = 200

About = Request | Call | None
"""What an answer is to, where no record says so yet."""
ToolOf = Callable[[Session, str], ToolWord | None]


class Refusals:
    """Writes what becomes of requests that no stream is opened for.

    `tool_of` tells what clients say of a tool, `policy` the digest of the policy as it is now.
    """

    def __init__(
        self,
        records: Records,
        claims: Claims,
        tool_of: ToolOf,
        policy: Callable[[], str],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._records = records
        self._claims = claims
        self._tool_of = tool_of
        self._policy = policy
        self._now = now
        self._minute = 0.0
        self._written: dict[str, int] = {}

    def told(self, answer: Answer, about: Request | Call, transport: asyncio.BaseTransport) -> None:
        """Write down that this answer was all that came of a request."""
        if self._records.log is None or self._records.counted is None:
            return
        why = answer.why or Why(_reason_in(answer))
        session, request = about.session, about if isinstance(about, Request) else about.request
        source = request.peer or peer_of(transport)
        if not session.id:
            facts = {"reason": why.reason[:MAX_REASON], "source": source}
            self._records.counted.count(UNAUTHENTICATED, facts)
        elif self._has_room(session.id):
            self._records.log.add(REFUSED, {**self._facts(why, about), "source": source})
        else:
            facts = self._facts(why, about)
            facts.pop("request", None)  # another one each time
            self._records.counted.count(REFUSED, facts)

    def _has_room(self, session: str) -> bool:
        now = self._now()
        if now - self._minute >= MINUTE:
            self._minute = now
            self._written.clear()
        count = self._written.get(session, 0)
        if count >= OF_SESSION or (not count and len(self._written) >= MAX_SESSIONS):
            return False
        self._written[session] = count + 1
        return True

    def _facts(self, why: Why, about: Request | Call) -> dict[str, Any]:
        session = about.session
        call = about if isinstance(about, Call) else None
        request = about if isinstance(about, Request) else about.request
        envelope = None if call is None else call.envelope
        decided = {"decision": why.decision, "policy": self._policy(), "rule": why.rule}
        facts: dict[str, Any] = {
            "reason": why.reason[:MAX_REASON],
            "what": self._what(session, request, envelope),
            "who": {
                "agent": session.agent,
                "claimed": self._claims.of(session.id, request, envelope),
                "session": session.id,
                "user": session.user,
            },
            "why": decided,
        }
        if why.request:
            facts["request"] = why.request
        if why.approval:
            facts["approval"] = {"id": why.approval}
        return facts

    def _what(
        self, session: Session, request: Request, envelope: Envelope | None
    ) -> dict[str, Any]:
        what: dict[str, Any] = {
            "http": request.method.decode("latin-1"),
            "server": session.upstream,
            "tunnel": session.tunnel,
        }
        if envelope is None:
            return what
        what["method"] = envelope.method if envelope.method is not None else "response"
        tool = None
        if envelope.method == TOOL:
            # An agent may call what does not exist: only a name that a client told is repeated.
            tool = self._tool_of(session, envelope.name or "")
        if tool is not None:
            what |= tool_facts(tool)
        return what


def _reason_in(answer: Answer) -> str:
    """Return what an answer of the relay's own says: up to what changes with the moment."""
    try:
        said = jiter.from_json(answer.body)["error"]["message"]
        return str(said).partition(";")[0]
    except (ValueError, KeyError, TypeError):
        return f"answered with {answer.status}"
