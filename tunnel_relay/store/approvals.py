"""Approvals as they are stored, and the part of the store that keeps them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class State(StrEnum):
    """Where an approval stands; which leads to which is in `tunnel_relay.approvals.decide`."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    CONSUMED = "consumed"


@dataclass(frozen=True, slots=True)
class Voice:
    """One approver's word. `key` and `signature` are texts, empty without a key of their own."""

    user: str
    at: float
    reason: str = ""
    key: str = ""
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Approval:
    """A request for one call, and what became of it; the arguments themselves are kept beside it.

    `definition`, `arguments` and `policy` are digests, as in `shared.permit.Permit`. `groups`,
    `users`, `count`, `not_requester` and `keys` (fingerprints of approvers' keys that the client
    lists) are of the rule that asked.
    """

    id: str
    session: str
    fingerprint: str
    user: str
    agent: str
    tunnel: str
    upstream: str
    tool: str
    tool_class: str
    definition: str
    arguments: str
    policy: str
    rule: str
    groups: tuple[str, ...]
    users: tuple[str, ...]
    count: int
    not_requester: bool
    keys: tuple[str, ...]
    created: float
    expires: float
    state: State = State.PENDING
    voices: tuple[Voice, ...] = ()
    decided: float | None = None
    decided_by: str = ""
    reason: str = ""
    consumed: float | None = None


@dataclass(frozen=True, slots=True)
class Texts:
    """What an approver looks at: canonical arguments, the tool's definition if it is known.

    None once they are not kept any more.
    """

    arguments: str | None
    definition: str | None


class ApprovalStore(Protocol):
    """The part of the store that keeps approvals; as `tunnel_relay.store.base.Store`."""

    async def add_approval(self, approval: Approval, texts: Texts) -> None:
        """Keep a new request."""

    async def approvals(self) -> list[Approval]:
        """Return every approval still kept, oldest first."""

    async def approval_texts(self, approval: str) -> Texts | None:
        """Return what an approver looks at, None when the approval is unknown."""

    async def decide_approval(self, approval: Approval, before: State) -> bool:
        """Store what was decided if the state is still `before`; False when it is not."""

    async def deny_approval(self, approval: str, at: float, by: str, reason: str) -> None:
        """Deny one that is pending or approved; any other stays as it is."""

    async def consume_approval(self, approval: str, now: float) -> bool:
        """Use up an approved one whose time is not over; of any number of racers one gets True."""

    async def purge_approvals(self, texts_before: float, before: float) -> None:
        """Forget the texts of those that ended or expired before one time, all of them before the
        other."""
