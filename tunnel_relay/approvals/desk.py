"""Takes requests for approval in, hears approvers, and hands each approved call out once.

What gives is written down and stored first, what takes away holds in memory first. Everything that
could have changed since the request was made is looked at again when somebody approves, and when
the call goes out: the session, its user and agent, locks, and whether those who approved still
might.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import anyio
import structlog

from shared.audit.events import note
from shared.ids import fingerprint, new_id
from shared.jsonrpc.canonical import canonical
from shared.permit import Permit, PermitError, arguments_digest, covered
from shared.policy.classes import ToolClass
from tunnel_relay.approvals import decide
from tunnel_relay.approvals.decide import Deed, Needs, No, permit_of, state_of
from tunnel_relay.approvals.expiring import Expiring
from tunnel_relay.approvals.requests import MAX_ARGUMENTS, Full, Requests
from tunnel_relay.approvals.signatures import check_signature, check_size
from tunnel_relay.approvals.standing import Owner, Standing
from tunnel_relay.audit.facts import of_approval
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.store.approvals import Approval, State, Texts, Voice
from tunnel_relay.store.base import Session, StoreError

KEEP_TEXTS = 86400.0
"""Seconds for which arguments are kept after a request is over."""
KEEP = 30 * 86400.0
MAX_TOOL = 200
MAX_PAYLOAD = 1500
"""Bytes of a permit without signatures, so that a few of them find room in its text."""
MIN_PREFIX = 6

log = structlog.get_logger("tunnel_relay.approvals")


class AskError(Exception):
    """A call that cannot be asked about; `why` goes to the agent."""

    def __init__(self, why: str, too_many: Full | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.too_many = too_many


@dataclass(frozen=True, slots=True)
class Taken:
    """What a call may go out with: `approval` where one was used up for it.

    `lost`: the same call took it at the same moment. `waits`: the client's own, still to be given.
    """

    approval: Approval | None = None
    lost: bool = False
    waits: Approval | None = None


class Approvals(Standing):
    """Every approval of a relay; `announce` hears of each new request and must not wait."""

    def __init__(self, owner: Owner) -> None:
        super().__init__(owner)
        self._turn = anyio.Lock()
        self._taking: set[str] = set()
        self._expiring = Expiring(self._known)
        self.announce: Callable[[Approval, Texts], None] = lambda approval, texts: None

    async def load(self) -> None:
        """Read what the store has; raises StoreError."""
        self.requests = Requests(await self._owner.store.approvals())
        self._expiring = Expiring(self._known)
        for each in self.requests:
            # Also what ended while no relay ran: nobody has told that yet.
            if (each.state, Deed.EXPIRE) in decide.NEXT:
                self._expiring.watch(each)

    def _known(self, approval: str) -> Approval | None:
        return self.requests.get(approval)

    async def purge(self) -> None:
        """Forget old arguments, and old approvals; raises StoreError."""
        now = self.now()
        await self._owner.store.purge_approvals(now - KEEP_TEXTS, now - KEEP)
        self.requests.forget(now - KEEP)

    async def tell_over(self) -> None:
        """Write down which ended by time since the last look; what is stored is not told again."""
        for each in self._expiring.over(self.now()):
            over = replace(each, state=State.EXPIRED, reason="its time is over")
            note(
                "approval.expired",
                **of_approval(over),
                expires=int(over.expires),
                reason=over.reason,
            )
            self.requests.put(over)
            try:
                await self._owner.store.decide_approval(over, each.state)
            except StoreError as error:
                # It is over all the same; the next start tells it once more.
                log.error("not stored yet", approval=over.id[:12], reason=str(error))

    # Agents -------------------------------------------------------------------------------------

    async def ask(
        self,
        session: Session,
        tool: str,
        params: Mapping[str, Any] | None,
        needs: Needs,
        definition: str | None = None,
    ) -> Approval:
        """Return the request for a call, a new one if there is none; raises AskError, StoreError.

        `params` are read by `shared.jsonrpc.canonical.exact`.
        """
        texts, digest = _texts(params, definition)
        async with self._turn:
            now = self.now()
            for known in self.requests.same(session.id, tool, digest, now):
                same = decide.is_of(known, needs, same_policy=True)
                if same and not self.ended(known):
                    return known
                if same or self.requests.of_relay(known) is self.requests.of_relay(needs):
                    await self._replace(known)
            full = self.requests.full(session.id, session.user, now, self.ended)
            full = full or self.requests.too_fast(session.id, session.tunnel, now)
            if full is not None:
                log.warning(
                    "approvals_full",
                    code=Code.TOO_MANY_APPROVALS,
                    session=session.id[:12],
                    user=session.user,
                    of=full.value,
                )
                raise AskError("too many pending approvals", full)
            approval = _request(session, tool, digest, needs, now)
            await self._owner.store.add_approval(approval, texts)
            self.requests.put(approval, by_relay=needs.relay)
        self._expiring.watch(approval)
        note("approval.asked", **of_approval(approval), expires=int(approval.expires))
        self._say("approval_asked", approval, rule=approval.rule)
        self.announce(approval, texts)
        return approval

    async def take(
        self,
        session: str,
        tool: str,
        params: Mapping[str, Any] | None,
        needs: Needs | None = None,
    ) -> Taken:
        """Use up the approval for a call, if there is one; raises StoreError.

        `needs` is of a rule of the relay's own that it has to satisfy, whichever rule asked.
        """
        try:
            digest = arguments_digest(params)
        except ValueError:
            return Taken()
        found = self.requests.same(session, tool, digest, self.now())
        if any(each.id in self._taking for each in found):
            return Taken(lost=True)
        self.requests.hear(needs)
        found = [each for each in found if each.state != State.APPROVED or not self.broken(each)]
        theirs = [each for each in found if not self.requests.of_relay(each)]
        # The client's own first: its permit is the one that a client which asks will take.
        for known in theirs + [each for each in found if each not in theirs]:
            own = known not in theirs
            if known.state is not State.APPROVED or not self._does(known, needs, own):
                continue
            alone = needs is None or not own or not theirs
            if not alone and theirs[0].state is not State.APPROVED:
                return Taken(waits=theirs[0])
            return await self._consume(known, *(() if alone else theirs[:1]))
        return Taken()

    def _does(self, known: Approval, needs: Needs | None, own: bool) -> bool:
        """Tell whether an approval does for a rule of the relay's own, if one asks."""
        if needs is None:
            return True
        shown = decide.is_of(known, needs, same_policy=own)
        return shown and decide.satisfies(known, needs, self.approvers(known))

    async def _consume(self, *approvals: Approval) -> Taken:
        """Use up all of these; the last is the one to go out with."""
        self._taking |= (ids := {each.id for each in approvals})
        try:
            for each in approvals:
                used = await self._owner.store.consume_approval(each.id, now := self.now())
                known = self.requests.get(each.id)
                if not used or known is None or decide.after(known, Deed.CONSUME, now) is None:
                    return Taken(lost=True)
                self.requests.put(replace(known, state=State.CONSUMED, consumed=now))
        finally:
            self._taking -= ids
        if any(map(self.broken, approvals)):  # it was ended while the store was asked
            return Taken(lost=True)
        for each in approvals:
            note("approval.consumed", **of_approval(each))
            self._say("approval_used", each, by=[voice.user for voice in each.voices])
        return Taken(self.requests.get(approvals[-1].id))

    # Approvers ----------------------------------------------------------------------------------

    async def approve(
        self, approval: Approval, who: str, reason: str, key: str = "", signature: str = ""
    ) -> Approval:
        """Hear a yes; raises RelayError and StoreError. It is approved when enough said it."""
        async with self._turn:
            approval = self.requests.get(approval.id) or approval
            user, now = self.person(who), self.now()
            voice = Voice(who, now, reason, key, signature)
            no = decide.refuse(approval, user, voice, now)
            if no is not None:
                self._refuse(approval, who, no)
            gone = self.broken(approval)
            if gone is not None:
                raise RelayError(Code.APPROVAL_OVER, f"it can do nothing any more: {gone}")
            if self._owner.passkeys.lacks(who, key):
                raise RelayError(Code.SIGNATURE_NEEDED, "this passkey is not registered as yours")
            check_signature(approval, voice)
            heard = decide.with_voice(approval, voice)
            check_size(heard)
            await self._give(heard, approval, who, reason)
            now_known = self.requests.get(approval.id)
            if now_known is not None and now_known.state is not approval.state:
                raise RelayError(Code.APPROVAL_OVER, "somebody denied it at the same time")
            self.requests.put(heard)
        event = "approval_given" if heard.state is State.APPROVED else "approval_supported"
        self._say(event, heard, by=who, signed=bool(key), reason=reason)
        return heard

    def deny(self, approval: Approval, who: str, reason: str) -> Approval:
        """Let a no hold, in memory; the caller stores it. Raises RelayError."""
        approval = self.requests.get(approval.id) or approval
        now = self.now()
        state = decide.after(approval, Deed.DENY, now)
        if state is None:
            raise RelayError(Code.APPROVAL_OVER, f"it is {state_of(approval, now)} already")
        denied = replace(approval, state=state, decided=now, decided_by=who, reason=reason)
        self.requests.put(denied)
        note("approval.denied", **of_approval(denied), by=who, reason=reason)
        self._say("approval_denied", denied, by=who, reason=reason)
        return denied

    def find(self, start: str, sees: Callable[[Approval], bool]) -> Approval:
        """Return the one that starts so, of those that somebody sees; raises APPROVAL_UNKNOWN."""
        found = [each for each in self.requests.starting(start) if sees(each)]
        if len(start) < MIN_PREFIX or len(found) != 1:
            raise RelayError(
                Code.APPROVAL_UNKNOWN, f"{len(found)} approvals start with this identifier"
            )
        return found[0]

    async def texts(self, approval: Approval) -> Texts:
        """Return what an approver looks at; raises StoreError."""
        return await self._owner.store.approval_texts(approval.id) or Texts(None, None)

    # Inside -------------------------------------------------------------------------------------

    async def _give(self, heard: Approval, before: Approval, who: str, reason: str) -> None:
        """Let a yes hold: written down, then stored. The log says so when it came to nothing."""
        given = heard.state is State.APPROVED
        kind = "approval.granted" if given else "approval.supported"
        why: str | None = "the log or the store did not take it"
        try:
            # On the disk first: after a fault of power the store would have what nobody gave.
            await self._owner.records.first(
                kind, {**of_approval(heard), "by": who, "reason": reason}
            )
            if await self._owner.store.decide_approval(heard, before.state):
                why = None
                return
            why = "somebody else decided at the same time"
            raise RelayError(Code.APPROVAL_OVER, why)
        finally:
            if why is not None:
                note("approval.refused", **of_approval(before), by=who, reason=why)

    async def _replace(self, approval: Approval) -> None:
        """Let a request go that would be approved for nothing, as one of another policy."""
        if (approval.state, Deed.EXPIRE) not in decide.NEXT:
            return
        why = self.problem(approval) or "the policy or the tool has changed"
        over = replace(approval, state=State.EXPIRED, reason=why)
        await self._owner.store.decide_approval(over, approval.state)
        self.requests.put(over)
        note("approval.expired", **of_approval(over), reason=over.reason)
        self._say("approval_outdated", over)

    def _refuse(self, approval: Approval, who: str, no: No) -> NoReturn:
        code, text = _REFUSALS[no]
        if no in (No.OWN, No.OUTSIDE):
            note("approval.refused", **of_approval(approval), by=who, reason=no.value)
            self._say("approval_refused", approval, warn=True, code=code, by=who, why=no.value)
        raise RelayError(code, text)

    def _say(self, event: str, approval: Approval, *, warn: bool = False, **more: Any) -> None:
        loud = approval.tool_class == ToolClass.BREAK_GLASS
        facts = {
            "approval": approval.id[:12],
            "session": approval.session[:12],
            "user": approval.user,
            "agent": approval.agent,
            "server": f"{approval.tunnel}/{approval.upstream}",
            "tool": approval.tool,
            "tool_class": approval.tool_class,
        }
        if loud:
            log.warning(f"break_glass_{event.removeprefix('approval_')}", **facts, **more)
        else:
            (log.warning if warn else log.info)(event, **facts, **more)


_REFUSALS = {
    No.OUTSIDE: (Code.APPROVAL_UNKNOWN, "0 approvals start with this identifier"),
    No.OWN: (Code.OWN_REQUEST, "nobody approves what their own agent asked for"),
    No.AGAIN: (Code.APPROVAL_OVER, "you, or this key, approved it already"),
    No.OVER: (Code.APPROVAL_OVER, "it is not pending any more"),
    No.REASON: (Code.REASON_NEEDED, "a break-glass call takes a reason"),
    No.KEY: (
        Code.SIGNATURE_NEEDED,
        "the private side takes only signatures of the keys it lists",
    ),
}


def _texts(params: Mapping[str, Any] | None, definition: str | None) -> tuple[Texts, str]:
    try:
        arguments = canonical(covered(params))
        digest = arguments_digest(params)
    except ValueError:
        raise AskError("this call cannot be approved: its arguments have no one spelling") from None
    if len(arguments) > MAX_ARGUMENTS:
        kib = MAX_ARGUMENTS // 1024
        raise AskError(f"this call cannot be approved: its arguments are over {kib} KiB")
    if definition is not None and len(definition.encode()) > MAX_ARGUMENTS:
        definition = None
    return Texts(arguments.decode(), definition), digest


def _request(session: Session, tool: str, digest: str, needs: Needs, now: float) -> Approval:
    approval = Approval(
        id=new_id(),
        session=session.id,
        fingerprint=fingerprint(session.digest),
        user=session.user,
        agent=session.agent,
        tunnel=session.tunnel,
        upstream=session.upstream,
        tool=tool,
        tool_class=needs.tool_class,
        definition=needs.definition,
        arguments=digest,
        policy=needs.policy,
        rule=needs.rule,
        groups=needs.groups,
        users=needs.users,
        count=needs.count,
        not_requester=needs.not_requester,
        keys=needs.keys,
        created=now,
        expires=min(now + needs.ttl, session.expires),
    )
    permit = permit_of(approval)
    try:
        # A name too long for a permit is found out now, not when somebody has approved it.
        long = len(tool) > MAX_TOOL or len(permit.payload()) > MAX_PAYLOAD
        if long or Permit.of_payload(permit.payload()) != permit:
            raise PermitError("too long")
    except PermitError:
        raise AskError("this call cannot be approved: a name in it is too long") from None
    return approval
