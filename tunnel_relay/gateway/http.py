"""The MCP endpoint: `/t/<tunnel>/<upstream>/mcp`, both eras.

Security steps, in order; the first that fails answers, and nothing reaches the upstream:

1. size of the head, repeated fields, Host (421), Origin (403)
2. method (405), path (404), the relay's lease (503)
3. token: exactly one, in the header, of a living session (401)
4. the session is for this tunnel and upstream (404, the same as for one that does not exist)
5. media type, encoding and size of the body (415, 413)
6. strict envelope (400), allowed method (-32601), header = body (-32020)
7. MCP session id: one the relay made for this very session (404)
8. a connected client; else wait a little, then 503; 404 where an MCP session's is gone
9. the relay's policy and the classes that were consented to; approvals it asks for
10. tasks and request states: those that this session was handed (-32602)

The connection reads and writes HTTP, the exchange carries the answer; here it is decided.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anyio.abc

from shared.errors import MisuseError, ResetCode, TooBigError
from shared.jsonrpc.envelope import EnvelopeError, parse
from shared.jsonrpc.headers import check_routing, read_routing
from shared.jsonrpc.methods import refusal
from tunnel_relay.audit.calls import Calls, Known
from tunnel_relay.audit.refusals import About, Refusals
from tunnel_relay.clients.link import Link
from tunnel_relay.clients.registry import Registry
from tunnel_relay.gateway import answers, checks, cors, foreign
from tunnel_relay.gateway.answers import Answer
from tunnel_relay.gateway.approvals import Asking
from tunnel_relay.gateway.binding import Binding
from tunnel_relay.gateway.bodies import LINGERING_BYTES, Bodies
from tunnel_relay.gateway.call import Call
from tunnel_relay.gateway.challenges import Challenges
from tunnel_relay.gateway.checks import Request
from tunnel_relay.gateway.connection import AgentConnection
from tunnel_relay.gateway.exchange import Exchange
from tunnel_relay.gateway.foreign import ForeignTokens
from tunnel_relay.gateway.judge import Judge, Narrow
from tunnel_relay.gateway.mcp_sessions import McpSessions
from tunnel_relay.gateway.patience import SMALL_BYTES
from tunnel_relay.gateway.running import Running
from tunnel_relay.gateway.sweeping import Sweeper
from tunnel_relay.gateway.tally import Tally
from tunnel_relay.gateway.verdicts import COUNTED_BYTES, Later, Verdicts
from tunnel_relay.gateway.waiting import WaitingCalls
from tunnel_relay.identity.issuers import Issuers, No
from tunnel_relay.identity.scopes import granted
from tunnel_relay.lease import Lease
from tunnel_relay.quotas import Quotas
from tunnel_relay.ratelimit import RateLimit, address_key
from tunnel_relay.sessions import SessionTable
from tunnel_relay.store.base import Session


class Gateway:
    """Checks agents' requests and carries each over a link; one instance a relay."""

    def __init__(
        self,
        edge: checks.Edge,
        sessions: SessionTable,
        registry: Registry,
        mcp_sessions: McpSessions,
        lease: Lease,
        *,
        challenges: Challenges,
        quotas: Quotas,
        bodies: Bodies,
        binding: Binding,
        judge: Judge,
        asking: Asking | None = None,
        calls: Calls | None = None,
        refusals: Refusals | None = None,
        guesses: RateLimit | None,
        issuers: Issuers | None = None,
        wait_for_client: float,
        comment_every: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.edge = edge
        self.connections: set[AgentConnection] = set()
        self.draining = False
        self.bodies = bodies
        self.binding = binding
        self.calls, self.refusals = calls or Calls(), refusals
        self._sessions, self.registry = sessions, registry
        self._mcp_sessions, self._lease = mcp_sessions, lease
        self._challenges = challenges
        self.quotas = quotas
        self._guesses = guesses
        self._comment_every, self._clock = comment_every, clock
        self.running = Running()
        self.time = asyncio.get_running_loop().time
        self.tally = Tally(self.time)
        self._foreign = ForeignTokens(issuers, self._refuse_foreign, self.time, bodies)
        self.tasks: anyio.abc.TaskGroup | None = None
        self.waiting = WaitingCalls(self, wait_for_client)
        self.verdicts = Verdicts(judge, binding, asking)

    def start(self, tasks: anyio.abc.TaskGroup) -> None:
        """Serve from now on; what has to wait runs in `tasks`."""
        self.tasks = tasks
        sweeper = Sweeper(self, self._sessions, self._lease, self._comment_every, self._clock)
        tasks.start_soon(sweeper.run)

    def refused(self, answer: Answer, about: About, transport: Any) -> None:
        """Count an answer of the relay's own, and write it down if it is all that comes."""
        self.tally.refusals[answer.status] += 1
        if about is not None and self.refusals is not None:
            self.refusals.told(answer, about, transport)

    @property
    def live(self) -> int:
        """How many calls are under way."""
        return len(self.running)

    def cut_session(self, session: str) -> int:
        """End every call of a session at once; returns how many were cut."""
        return self.running.cut(self.running.of(session))

    def cut_unchecked(self) -> int:
        """End every call because nobody knows whether its session lives; returns how many."""
        return self.running.cut(self.running.all(), answers.Cut.UNCHECKED)

    # Steps 1 to 5, before the body is read ------------------------------------------------------

    def judge(self, request: Request, known: checks.Known | None) -> Answer | None:
        """Return the refusal of a head; `known` is one that passed on this connection before."""
        if known is not None and known.matches(request) and foreign.holds(known):
            again = self.judge_again(request, known)
            # A token of an issuer may open another session than the one that ended.
            if known.accepted is None or request.known is not None:
                return again
            request.fields, request.session = {}, checks.NO_SESSION
        return self.judge_head(request)

    def judge_head(self, request: Request) -> Answer | None:
        """Return the refusal of a head, None when its body may come."""
        edge, fields = self.edge, request.fields
        if refused := checks.read_fields(request, edge) or checks.refuse_place(fields, edge):
            return refused
        if request.method not in checks.METHODS:
            return cors.other_method(request)
        path = checks.PATH.fullmatch(request.path)
        if path is None:
            return answers.NOT_FOUND
        if not self._lease.held:
            return answers.UNCHECKED
        authorization = fields.get(b"authorization")
        if authorization is None:
            return self._challenge(request, "no token", token_sent=False)
        place, token = path.group(1).decode(), checks.read_token(authorization)
        if token is None:
            return self._judge_foreign(request, authorization, place)
        session = self._sessions.find(token, now := self._clock())
        if session is None:
            why = f"token: {self._sessions.why(token, now)}"
            return self._guessed(request) or self._challenge(request, why)
        request.session = session
        if session.place != place:
            return answers.NOT_FOUND
        return self._let_in(request, session, self._sessions.ends(token))

    def _let_in(self, request: Request, session: Session, ends: float) -> Answer | None:
        request.session = session
        refused = checks.refuse_body(request, self.edge) or self._too_fast(session)
        if refused is None:
            request.known = checks.Known(request)
            request.known.token_ends = ends
        return refused

    def _judge_foreign(self, request: Request, authorization: bytes, place: str) -> Answer | None:
        judged = self._foreign.judge(authorization, place, request)
        if judged is None:
            return checks.refuse_body(request, self.edge)
        if isinstance(judged, Answer):
            return judged
        refused = self._let_in(request, judged.session or checks.NO_SESSION, judged.access.ends)
        if request.known is not None:
            request.known.accepted = judged
        return refused

    def _refuse_foreign(self, request: Request, no: No) -> Answer:
        if no is No.TOKEN:
            return self._guessed(request) or self._challenge(request, "token: of no issuer")
        return foreign.outcome(no) or self._challenge(request, "token: scope", insufficient=True)

    def judge_again(self, request: Request, known: checks.Known) -> Answer | None:
        """Judge a head that is the same as one that passed: only what can have changed."""
        if not self._lease.held:
            request.fields = known.fields
            return answers.UNCHECKED
        request.session = known.session
        if self._sessions.again(known.session, self._clock(), known.token_ends) is None:
            request.fields = known.fields
            return self._challenge(request, self._ended(known.session) or "token: expired")
        request.fields = known.fields
        request.known = known
        return checks.refuse_length(request, self.edge) or self._too_fast(known.session)

    def _too_fast(self, session: Session) -> Answer | None:
        wait = self.quotas.take(session, self.time())
        return answers.too_many("calls", wait) if wait else None

    def _guessed(self, request: Request) -> Answer | None:
        """Count a wrong token against its address; those with a good one never notice."""
        if self._guesses is None:
            return None
        wait = self._guesses.take(address_key(request.peer), self.time())
        return answers.too_many("wrong tokens", wait) if wait else None

    def _challenge(
        self, request: Request, why: str, *, token_sent: bool = True, insufficient: bool = False
    ) -> Answer:
        host = request.fields.get(b"host", b"")
        answer = self._challenges.answer(host, request.path, token_sent, insufficient)
        # An agent in a page has to read where to log in.
        more = cors.headers(request) if b"origin" in request.fields else []
        return replace(answer, headers=[*answer.headers, *more], why=answers.Why(why))

    def serve_repeated(
        self, known: checks.Known, data: bytes | memoryview, connection: AgentConnection
    ) -> bool:
        """Serve a request whose head is known by its bytes; False leaves it to the parser."""
        if known.repeated is None or len(data) > SMALL_BYTES or not foreign.holds(known):
            return False
        body = known.repeated.body_of(bytes(data))
        if body is None:
            return False
        request = known.request(body)
        if self.judge_again(request, known) is not None:
            return False
        connection.deadline = 0.0
        self.serve(request, connection)
        return True

    # Steps 6 to 8 -------------------------------------------------------------------------------

    def serve(self, request: Request, connection: AgentConnection) -> None:
        """Judge a whole request and carry it; every outcome goes to `connection`."""
        if request.opening is not None:
            self._foreign.open(request, connection, self.tasks, self.serve)
        else:
            self._serve(request, connection)
        if connection.exchange is None:  # it was answered
            self.bodies.free(request)

    def _serve(self, request: Request, connection: AgentConnection) -> None:
        try:
            envelope = None
            if request.method == b"POST":
                envelope = parse(request.body)
                known = request.known
                check_routing(
                    envelope, read_routing(request.headers) if known is None else known.routing
                )
                if (refused := refusal(envelope)) is not None:
                    raise refused
        except EnvelopeError as error:
            # A notification nobody knows is accepted and dropped (202).
            dropped = Answer(202, b"", why=answers.Why(error.message))
            answer = dropped if error.status == 202 else answers.envelope_refused(error)
            connection.respond(answer, request)
            return
        if (late := self.judge_late(request)) is not None:
            connection.respond(late, request)
            return
        call = Call(request, request.session, envelope)
        sent = request.fields.get(b"mcp-session-id")
        if sent is not None and not call.modern and not call.initializes:
            own = call.session
            call.instance = self._mcp_sessions.instance(sent, own.id, own.place)
            if call.instance is None:
                connection.respond(answers.MCP_SESSION_GONE, call)
                return
            call.mcp_session = sent.decode()
        link = self.registry.find(call.session.tunnel, call.session.upstream, call.instance)
        if not self.quotas.begin(call.session, self.time()):
            connection.respond(answers.too_many("calls at a time", 1, call.message_id), call)
        elif link is not None:
            self.carry(call, link, connection)
        else:
            self.waiting.for_client(call, connection)

    def judge_late(self, request: Request) -> Answer | None:
        """Look again at what was true at the head: a body, or a client, takes its time."""
        if not self._lease.held:
            return answers.UNCHECKED
        ended = self._ended(request.session)
        return None if ended is None else self._challenge(request, ended)

    def _ended(self, session: Session) -> str | None:
        ended = self._sessions.state(session.id, self._clock())
        return None if ended is None else f"session: {ended}"

    def carry(self, call: Call, link: Link, connection: AgentConnection) -> None:
        """Ask whoever has a say, then send the call."""
        verdict = self.verdicts.of(call, link)
        if verdict is None:
            self.send(call, link, connection)
        elif isinstance(verdict, Later):
            self.waiting.settle(call, connection, verdict.outcome)
        else:
            self.tally.denied(call.session.place)
            self.turn_away(call, connection, verdict)

    def turn_away(self, call: Call, connection: AgentConnection, why: Answer | Narrow) -> None:
        """End a call that is not sent."""
        self.quotas.end(call.session)
        if isinstance(why, Narrow):
            host = call.request.fields.get(b"host", b"")
            why = self._challenges.narrowed(host, call.request.path, granted(why.classes))
        connection.respond(why, call)

    def send(self, call: Call, link: Link, connection: AgentConnection) -> None:
        """Open a stream for a call about which everybody was asked."""
        session, request = call.session, call.request
        if call.initializes:
            call.mcp_session = self._mcp_sessions.mint(session.id, session.place, link.instance)
        exchange = Exchange(self, call, link, connection)
        self.tally.begin(exchange)
        head, body, envelope = b"", request.body, call.envelope
        known: Known | bool = True
        self.verdicts.keep(call)
        lingers = len(body) > LINGERING_BYTES or len(call.body) > COUNTED_BYTES
        try:
            head, refused = call.open_head(), None
            if lingers:
                refused = self.bodies.pay(request, len(body), call.message_id)
            if refused is None:
                link.grants.ensure(session)
                if not link.watch.on:
                    link.watch.begin()
        except TooBigError:
            refused = answers.HEADERS_TOO_LARGE
        except MisuseError:
            refused = answers.failed(ResetCode.REFUSED, call.message_id)
        if refused is None:
            known = self.calls.known(call, envelope, link, self.verdicts.policy.digest)
            if known is False:
                refused = answers.unrecorded(call.message_id)
        if refused is not None:
            self.binding.give_back(call)
            self.quotas.end(session)
            call.envelope = envelope
            connection.respond(refused, call)
            return
        if not lingers:
            self.bodies.free(request)
        # Idle streams live long: they keep nothing of the request but what the answer needs.
        request.forget()
        connection.exchange = exchange
        self.running.add(session.id, exchange)
        if isinstance(known, bool):
            exchange.open(head, body)
        else:
            self.calls.when_written(exchange, link.driver, head, body, known)

    def may_run_on(self, exchange: Exchange) -> bool:
        """Tell whether a call may run on though its agent is gone."""
        return self.running.may_run_on(exchange.call.session.id)

    def forget(self, exchange: Exchange) -> None:
        """Let go of a call that is over."""
        self.bodies.free(exchange.call.request)
        session = exchange.call.session
        if self.running.discard(session.id, exchange):
            self.quotas.end(session)
            self.tally.end(exchange)
