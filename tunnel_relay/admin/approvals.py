"""Commands about approvals: what waits for a human, all of it to look at, and the decision."""

import re
from collections.abc import Collection
from typing import Any

import structlog

from shared.ids import fingerprint
from shared.passkey import encode
from shared.permit import passkey_challenge
from tunnel_relay.admin.acting import OPERATOR, actor, acts_as_admin, confined_to
from tunnel_relay.admin.changes import DenyApproval
from tunnel_relay.admin.checks import MAX_TEXT, check_text
from tunnel_relay.admin.core import AdminCore
from tunnel_relay.admin.passkeys import passkey_view
from tunnel_relay.approvals import decide
from tunnel_relay.approvals.decide import permit_of, state_of
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.store.approvals import Approval
from tunnel_relay.store.base import StoreError

MAX_PAGE = 500
"""Most requests in one answer."""
LOOKED_AT = 2000
"""Requests that are over and looked through for one answer: a console asks every few seconds."""
WAITS, OVER = "w", "o"
_AFTER = re.compile(r"([wo])([0-9]{1,15})")
ENDED = "ended"
"""Shown of what was pending or approved when its session, user or approver ended."""

log = structlog.get_logger("tunnel_relay.admin")


class ApprovalCommands(AdminCore):
    """See `tunnel_relay.approvals.desk`; these are its commands."""

    async def approval_list(
        self, every: bool = False, query: str = "", limit: int = 100, after: str | None = None
    ) -> dict[str, Any]:
        """Return what is pending, oldest first; with `every` then the decided ones, newest first.

        An approver sees what they may decide, a user their own agents' requests, auditors all.
        `waiting` says how many are pending. While `next` is not null there may be more: give it as
        `after`. `query` is found in any name, the state or the identifier.
        """
        if not 0 < limit <= MAX_PAGE or len(query) > MAX_TEXT:
            text = f"limit is 1 to {MAX_PAGE}, query at most {MAX_TEXT} characters"
            raise RelayError(Code.BAD_REQUEST, text)
        part, number = _place(after)
        wanted, numbers = query.strip().lower(), self.approvals.requests.number
        pending = [each for each in self.approvals.pending() if self._is_wanted(each, wanted)]
        pending.sort(key=lambda each: numbers(each.id))
        rest = [each for each in pending if numbers(each.id) > number] if part == WAITS else []
        found, following = rest[:limit], None
        if len(rest) > limit:
            following = f"{WAITS}{numbers(found[-1].id)}"
        elif every:
            below = number if part == OVER else self.approvals.requests.last + 1
            known = {each.id for each in pending}
            over, following = self._over(wanted, known, below, limit - len(found))
            found += over
        shown = [self._view(each) for each in found]
        return {"approvals": shown, "next": following, "waiting": len(pending)}

    def _over(
        self, wanted: str, pending: Collection[str], below: int, room: int
    ) -> tuple[list[Approval], str | None]:
        """Return what is not pending, newest first, and where to go on after a part of it."""
        found: list[Approval] = []
        for looked, each in enumerate(self.approvals.requests.newest(below)):
            if len(found) == room or looked == LOOKED_AT:
                return found, f"{OVER}{below}"
            below = self.approvals.requests.number(each.id)
            if each.id not in pending and self._is_wanted(each, wanted):
                found.append(each)
        return found, None

    def _is_wanted(self, approval: Approval, query: str) -> bool:
        if not self._sees(approval):
            return False
        server = f"{approval.tunnel}/{approval.upstream}"
        names = (approval.user, approval.agent, server, approval.tool, approval.tool_class)
        texts = (approval.id, *names, self._state(approval)) if query else ("",)
        return any(query in text.lower() for text in texts)

    async def approval_show(self, approval: str) -> dict[str, Any]:
        """Return everything that an approver looks at, and what a key of theirs would sign."""
        found = self.approvals.find(approval, self._sees)
        texts = await self.approvals.texts(found)
        return self._view(found) | {
            "text": texts.arguments,
            "definition_text": texts.definition,
            "payload": permit_of(found).payload().decode(),
            "challenge": encode(passkey_challenge(permit_of(found))),
            "passkeys": [
                passkey_view(each) for each in self.passkeys.answering(actor(), found.keys)
            ],
        }

    async def approval_approve(
        self, approval: str, reason: str = "", key: str = "", signature: str = ""
    ) -> dict[str, Any]:
        """Say yes to a call, as the one who acts; `signature` (hex) is of an approver's `key`.

        Of a passkey, which has to be registered as theirs, it is the assertion over `challenge`.

        It may run once the rule's count of approvers said so, once, with exactly these arguments.
        """
        who = self._decider()
        found = self.approvals.find(approval, self._sees)
        if reason:
            reason = check_text(reason, "the reason")
        heard = await self.approvals.approve(found, who, reason, key, signature)
        await self._note_passkey(who, key)
        return self._view(heard)

    async def approval_deny(self, approval: str, reason: str) -> dict[str, Any]:
        """Say no to a call, or take a yes back that was not used yet."""
        reason = check_text(reason, "the reason")
        found = self.approvals.find(approval, self._decides)
        denied = self.approvals.deny(found, actor(), reason)
        stored = await self.keep(
            DenyApproval(denied.id, denied.decided or self.clock(), denied.decided_by, reason)
        )
        return {"approval": self._view(denied), **stored}

    async def _note_passkey(self, who: str, key: str) -> None:
        used = self.passkeys.find(who, key)
        if used is None:
            return
        now = self.clock()
        self.passkeys.used(used.id, now)
        try:
            await self.store.use_passkey(used.id, now)
        except StoreError as error:  # it is approved all the same
            log.warning("passkey_use_not_stored", passkey=used.id, error=str(error))

    def may_decide(self, approval: Approval) -> bool:
        """Tell whether the one who acts is an approver of a request."""
        user = self.directory.active_user(actor())
        return user is not None and decide.may_decide(approval, user)

    def _decider(self) -> str:
        if actor() == OPERATOR:
            raise RelayError(Code.APPROVER_NEEDED, "give this command as a user, with their token")
        return actor()

    def _decides(self, approval: Approval) -> bool:
        return acts_as_admin() or self.may_decide(approval)

    def _sees(self, approval: Approval) -> bool:
        everything = confined_to() is None
        return everything or approval.user == actor() or self.may_decide(approval)

    def _state(self, approval: Approval) -> str:
        if self.approvals.ended(approval):
            return ENDED
        return state_of(approval, self.approvals.now()).value

    def _view(self, approval: Approval) -> dict[str, Any]:
        """Show a request as JSON values."""
        session = self.sessions.get(approval.session)
        problem = self.approvals.problem(approval)
        return {
            "id": approval.id,
            "state": self._state(approval),
            "problem": problem,
            "session": approval.session,
            "fingerprint": fingerprint(session.digest) if session else approval.fingerprint,
            "user": approval.user,
            "agent": approval.agent,
            "server": f"{approval.tunnel}/{approval.upstream}",
            "tool": approval.tool,
            "class": approval.tool_class,
            "rule": approval.rule,
            "definition": approval.definition,
            "arguments": approval.arguments,
            "policy": approval.policy,
            "groups": list(approval.groups),
            "users": list(approval.users),
            "count": approval.count,
            "approvals": [_voice(each) for each in approval.voices],
            "keys": list(approval.keys),
            "signed_by": "approvers' keys" if approval.keys else "the relay",
            "created": approval.created,
            "expires": approval.expires,
            "decided": approval.decided,
            "decided_by": approval.decided_by,
            "reason": approval.reason,
            "consumed": approval.consumed,
            "own": decide.is_own(approval, actor()),
            "may_decide": self.may_decide(approval),
        }


def _place(after: str | None) -> tuple[str, int]:
    """Return in which part of a list to go on, and after which number; raises RelayError."""
    if after is None:
        return WAITS, 0
    found = _AFTER.fullmatch(after)
    if found is None:
        raise RelayError(Code.BAD_REQUEST, "after: give what came as next")
    return found[1], int(found[2])


def _voice(voice: Any) -> dict[str, Any]:
    return {"user": voice.user, "at": voice.at, "reason": voice.reason, "signed": bool(voice.key)}
