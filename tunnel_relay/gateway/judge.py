"""The relay's own verdict on a request, before the private side has its say.

Only what the relay's policy file narrows, and the classes a user consented to: the client judges
again by files that nobody here can change. What classes tools have is the client's word (TOOLS);
a client that lies about it deceives nobody but itself.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import structlog

from shared.few import Few
from shared.jsonrpc.envelope import Envelope, Kind
from shared.policy import answers as refusals
from shared.policy.actions import LISTS, Listed, action_of, entry_name, filtered
from shared.policy.methods import RULED, TOOL
from shared.policy.model import Action, Decision, Effect, Policy, Subject
from shared.policy.rules import decide, visible
from shared.wire.tools import ToolWord
from tunnel_relay.clients.grants import GroupsOf
from tunnel_relay.clients.link import Link
from tunnel_relay.gateway.answers import JSON, NO_STORE, Answer, Why
from tunnel_relay.store.base import Door, Session

log = structlog.get_logger("tunnel_relay.judge")

MAX_REMEMBERED = 65_536
Document = dict[str, Any]
Edit = Callable[[Document], Document | None]


class Passed(NamedTuple):
    """The request may go to the client; `edit`, where there is one, has to see the response.

    `decision` is the policy's, None for what no rule is asked about.
    """

    edit: Edit | None = None
    decision: Decision | None = None


class Narrow(NamedTuple):
    """The user consented to less: the agent may ask for these classes as well."""

    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asks:
    """The relay's policy wants a person's permission for this call."""

    action: Action
    decision: Decision
    tool: ToolWord | None
    policy: Policy


Verdict = Passed | Answer | Narrow | Asks
_PASSED = Passed()


class Judge:
    """Judges by the policy as it is now; `groups_of` tells a user's groups."""

    def __init__(self, policy: Callable[[], Policy], groups_of: GroupsOf) -> None:
        self._policy = policy
        self._groups_of = groups_of
        self._subjects: dict[tuple[str, str], Subject] = {}
        self._open: tuple[Policy | None, Passed | None] = (None, None)
        self._few = Few()

    @property
    def policy(self) -> Policy:
        """The policy as it is now."""
        return self._policy()

    def judge(
        self, session: Session, envelope: Envelope | None, link: Link, http: bytes
    ) -> Verdict:
        """Return what becomes of a request; total, and a fault is a refusal."""
        policy = self._policy()
        if envelope is None:
            # A stream that is resumed brings the answers of earlier requests, lists among them; and
            # it lives for long, so a policy that is open now may narrow under it.
            return Passed(self._any_list(session, link)) if http == b"GET" else _PASSED
        if not session.classes and (passed := self._permits_all(policy)) is not None:
            return passed if envelope.method in RULED else _PASSED
        if envelope.kind is Kind.RESPONSE:
            return _PASSED
        method = envelope.method
        tool = None
        if method == TOOL and envelope.name is not None:
            tool = link.tool(session.upstream, envelope.name)
            kind = None if tool is None else tool.kind
            if session.classes and kind is not None and kind not in session.classes:
                return self._outside(session, envelope, kind.value)
        action = action_of(session.place, envelope, None if tool is None else tool.kind)
        if action is None:
            return _PASSED
        subject = self._subject(session)
        decision = decide(policy, subject, action)
        if decision.effect is Effect.ALLOW:
            listed = LISTS.get(action.method)
            if listed is None or self._permits_all(policy) is not None:
                # What the session's classes leave out, the client filters.
                return Passed(None, decision)
            return Passed(self._list_filter(policy, session, subject, listed, link), decision)
        if decision.effect is Effect.REQUIRE_APPROVAL and method == TOOL:
            return Asks(action, decision, tool, policy)
        if method == TOOL and not visible(policy, subject, action):
            return self._unknown(session, envelope, decision)
        return self._denied(session, envelope, decision.why, decision.rule)

    # Inside -------------------------------------------------------------------------------------

    def _permits_all(self, policy: Policy) -> Passed | None:
        """Return what a policy that narrows nothing says to all; new relays start with one."""
        if self._open[0] is not policy:
            rule = _permits_all(policy)
            decision = None if rule is None else Decision(Effect.ALLOW, rule, "rule")
            self._open = policy, None if decision is None else Passed(None, decision)
        return self._open[1]

    def _subject(self, session: Session) -> Subject:
        groups = self._groups_of(session.user)
        key = session.user, session.agent
        known = self._subjects.get(key)
        if known is not None and len(known.groups) == len(groups) and known.groups == {*groups}:
            return known
        if len(self._subjects) >= MAX_REMEMBERED:
            self._subjects.clear()
        subject = self._subjects[key] = Subject(session.user, frozenset(groups), session.agent)
        return subject

    def _list_filter(
        self, policy: Policy, session: Session, subject: Subject, listed: Listed, link: Link
    ) -> Edit:
        def sees(entry: object) -> bool:
            name = entry_name(entry, listed)
            if name is None:
                return False
            tool = link.tool(session.upstream, name) if listed.method == TOOL else None
            kind = None if tool is None else tool.kind
            return visible(policy, subject, Action(session.place, listed.method, name, kind, None))

        return lambda document: filtered(
            document, listed, lambda entries: [entry for entry in entries if sees(entry)]
        )

    def _any_list(self, session: Session, link: Link) -> Edit:
        def edit(document: Document) -> Document | None:
            policy = self._policy()
            if self._permits_all(policy) is not None:
                return None
            subject = self._subject(session)
            changed: Document | None = None
            for listed in LISTS.values():
                one = self._list_filter(policy, session, subject, listed, link)
                changed = one(changed or document) or changed
            return changed

        return edit

    def _outside(self, session: Session, envelope: Envelope, kind: str) -> Verdict:
        if session.door is Door.OAUTH:
            self._log("narrowed", session, envelope, kind)
            return Narrow((*session.classes, kind))
        return self._denied(session, envelope, "the session's classes do not hold it", None)

    def _denied(self, session: Session, envelope: Envelope, why: str, rule: str | None) -> Answer:
        request = secrets.token_hex(8)
        self._log("denied", session, envelope, why, rule=rule, request=request)
        body = refusals.denied(envelope.id, request, envelope.method or "")
        return _answer(body, Why(why, rule, request=request))

    def _unknown(self, session: Session, envelope: Envelope, decision: Decision) -> Answer:
        self._log("unknown_tool", session, envelope, decision.why, rule=decision.rule)
        body = refusals.unknown_tool(envelope.id, envelope.name)
        return _answer(body, Why(decision.why, decision.rule))

    def _log(
        self, event: str, session: Session, envelope: Envelope, why: str, **facts: str | None
    ) -> None:
        left_out = self._few.take(time.monotonic())
        if left_out is None:
            return  # an agent that goes on and on fills no disk
        if left_out:
            facts["left_out"] = str(left_out)
        name = None if envelope.name is None else ascii(envelope.name)[:128]
        log.warning(
            event,
            session=session.id[:12],
            user=session.user,
            agent=session.agent,
            server=session.place,
            method=envelope.method,
            name=name,
            why=why,
            **{key: value for key, value in facts.items() if value is not None},
        )


def _answer(body: bytes, why: Why) -> Answer:
    return Answer(200, body, [JSON, NO_STORE], why)


def _permits_all(policy: Policy) -> str | None:
    """Return the rule that allows everything and asks for nothing, if no other does but allow."""
    if any(rule.effect is not Effect.ALLOW for rule in policy.rules):
        return None
    wide = (rule for rule in policy.rules if not rule.is_conditional and _asks_nothing(rule.match))
    return min((rule.id for rule in wide), default=None)


def _asks_nothing(match: Any) -> bool:
    narrowed = ("server", "tool", "prompt", "resource", "classes", "group", "user", "agent", "env")
    return match.methods >= RULED and all(getattr(match, key) is None for key in narrowed)
