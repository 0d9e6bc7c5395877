"""Who may approve what, and what a decision makes of a request. Pure."""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from shared.keys import BadKeyError
from shared.passkey import approver_fingerprint, read_approver_key
from shared.permit import Permit
from shared.policy.classes import ToolClass
from tunnel_relay.store.approvals import Approval, State, Voice
from tunnel_relay.store.base import Role, User

DEFAULT_TTL = 900.0
MAX_TTL = 7 * 86400.0
MAX_COUNT = 8
MAX_NAMES = 100
MAX_KEYS = 16
MAX_RULE = 200
_FINGERPRINT = re.compile(r"[0-9a-f]{16}")


class Deed(StrEnum):
    """What can happen to a request."""

    APPROVE = "approve"
    """The last approver that was needed said yes."""
    DENY = "deny"
    EXPIRE = "expire"
    CONSUME = "consume"
    """The call went out with the permit."""


NEXT: dict[tuple[State, Deed], State] = {
    (State.PENDING, Deed.APPROVE): State.APPROVED,
    (State.PENDING, Deed.DENY): State.DENIED,
    (State.PENDING, Deed.EXPIRE): State.EXPIRED,
    (State.APPROVED, Deed.DENY): State.DENIED,
    (State.APPROVED, Deed.EXPIRE): State.EXPIRED,
    (State.APPROVED, Deed.CONSUME): State.CONSUMED,
}
"""Everything that can become of a request; what is not here cannot happen."""


class No(StrEnum):
    """Why somebody may not decide, or not so."""

    OUTSIDE = "outside"
    OWN = "own"
    AGAIN = "again"
    OVER = "over"
    REASON = "reason"
    KEY = "key"


class NeedsError(ValueError):
    """What was said of a rule is not usable; the text is for logs."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What the rule that asked wants: see `Approval`; `ttl` in seconds.

    `relay`: the rule is of the relay's own policy, not of the client's.
    """

    policy: str
    rule: str
    tool_class: str
    definition: str
    groups: tuple[str, ...]
    users: tuple[str, ...]
    count: int = 1
    ttl: float = DEFAULT_TTL
    not_requester: bool = True
    keys: tuple[str, ...] = ()
    relay: bool = False

    def __post_init__(self) -> None:
        if not (self.groups or self.users):
            raise NeedsError("the rule names nobody who could approve")


def read_needs(text: str) -> Needs:
    """Read what a client says with NEEDS_APPROVAL; total: a Needs or a NeedsError."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise NeedsError("not JSON") from None
    if not isinstance(values, dict):
        raise NeedsError("not an object")
    keys = _names(values, "keys", MAX_KEYS)
    if not all(map(_FINGERPRINT.fullmatch, keys)):
        raise NeedsError("keys are no fingerprints")
    return Needs(
        policy=_text(values, "policy", 64),
        rule=_text(values, "rule", MAX_RULE, ""),
        tool_class=_text(values, "class", 32),
        definition=_text(values, "sha256", 64),
        groups=_names(values, "groups", MAX_NAMES),
        users=_names(values, "users", MAX_NAMES),
        count=int(_number(values, "count", 1, 1, MAX_COUNT)),
        ttl=_number(values, "ttl", DEFAULT_TTL, 1, MAX_TTL),
        # Whatever is not a plain no means yes.
        not_requester=values.get("not_requester") is not False,
        keys=keys,
    )


def state_of(approval: Approval, now: float) -> State:
    """Return where an approval stands now: time passes without anybody storing it."""
    if now >= approval.expires:
        return NEXT.get((approval.state, Deed.EXPIRE), approval.state)
    return approval.state


def after(approval: Approval, deed: Deed, now: float) -> State | None:
    """Return the state that a deed leads to, None when it cannot be done."""
    return NEXT.get((state_of(approval, now), deed))


def may_decide(approval: Approval, user: User) -> bool:
    """Tell whether a user is one of those whom the rule asks: by role, and by name or group."""
    if not {Role.APPROVER, Role.ADMIN} & set(user.roles):
        return False
    return user.key in approval.users or bool({*user.groups} & {*approval.groups})


def is_own(approval: Approval, user: str) -> bool:
    """Tell whether a user would approve what their own agent asked for, and may not."""
    strict = approval.not_requester or approval.tool_class == ToolClass.BREAK_GLASS
    return strict and user == approval.user


def refuse(approval: Approval, user: User, voice: Voice, now: float) -> No | None:
    """Return why this voice does not count as a yes, None when it does."""
    if user.key == approval.user and is_own(approval, user.key):
        return No.OWN
    if not may_decide(approval, user):
        return No.OUTSIDE
    if state_of(approval, now) is not State.PENDING:
        return No.OVER
    if any(user.key == each.user or voice.key == each.key != "" for each in approval.voices):
        return No.AGAIN
    if approval.tool_class == ToolClass.BREAK_GLASS and not voice.reason:
        return No.REASON
    if approval.keys and not _is_listed(voice.key, approval.keys):
        return No.KEY
    return None


def with_voice(approval: Approval, voice: Voice) -> Approval:
    """Return the request with one more yes; approved when that was the last one needed."""
    heard = replace(approval, voices=(*approval.voices, voice))
    if len(heard.voices) < approval.count:
        return heard
    state = NEXT[approval.state, Deed.APPROVE]
    return replace(heard, state=state, decided=voice.at, decided_by=voice.user, reason=voice.reason)


def permit_of(approval: Approval) -> Permit:
    """Return what approvers sign; the same bytes from the first to the last of them."""
    return Permit(
        id=approval.id,
        session=approval.session,
        user=approval.user,
        agent=approval.agent,
        server=approval.upstream,
        tool=approval.tool,
        definition=approval.definition,
        arguments=approval.arguments,
        policy=approval.policy,
        tool_class=approval.tool_class,
        issued=int(approval.created),
        expires=int(approval.expires),
    )


def satisfies(approval: Approval, needs: Needs, approvers: Collection[User]) -> bool:
    """Tell whether those who approved are enough for a rule, whichever rule had asked them."""
    wanted = replace(approval, groups=needs.groups, users=needs.users)
    wanted = replace(wanted, not_requester=needs.not_requester)
    good = [user for user in approvers if may_decide(wanted, user) and not is_own(wanted, user.key)]
    return len({user.key for user in good}) >= needs.count


def is_of(approval: Approval, needs: Needs, *, same_policy: bool) -> bool:
    """Tell whether what people were shown is still so: the tool, its class, and the rules."""
    shown = approval.definition, approval.tool_class
    unchanged = not same_policy or approval.policy == needs.policy
    return unchanged and shown == (needs.definition, needs.tool_class)


def _is_listed(key: str, fingerprints: Collection[str]) -> bool:
    try:
        return approver_fingerprint(read_approver_key(key)) in fingerprints
    except BadKeyError:
        return False


def _text(values: dict[str, Any], name: str, most: int, default: str | None = None) -> str:
    value = values.get(name, default)
    if not isinstance(value, str) or len(value) > most or not value.isprintable():
        raise NeedsError(f"{name} is missing or unusable")
    return value


def _names(values: dict[str, Any], name: str, most: int) -> tuple[str, ...]:
    found = values.get(name) or []
    good = isinstance(found, list) and len(found) <= most
    if not good or not all(isinstance(each, str) and 0 < len(each) <= 512 for each in found):
        raise NeedsError(f"{name} is unusable")
    return tuple(found)


def _number(values: dict[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = values.get(name)
    if value is None:
        return default
    if type(value) not in (int, float) or not low <= value <= high:
        raise NeedsError(f"{name} is out of bounds")
    return float(value)
