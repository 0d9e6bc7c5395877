"""What takes something away, as a value: stored when the store can, in the journal until then.

Each may be stored twice: after a commit of which only the answer failed, it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, TypeAdapter, ValidationError

from tunnel_relay.store.base import Bar, Lock, Store, User


class Change(Protocol):
    """One change that memory enforces already."""

    @property
    def key(self) -> str:
        """What it is about: a later change with the same key takes its place."""

    async def store(self, store: Store) -> None:
        """Store it; raises StoreError."""


@dataclass(frozen=True, slots=True)
class EndSessions:
    """Sessions are revoked; `name` tells one such change from another."""

    name: str
    sessions: tuple[str, ...]
    at: float
    reason: str
    do: Literal["end_sessions"] = "end_sessions"

    @property
    def key(self) -> str:
        return f"sessions {self.name}"

    async def store(self, store: Store) -> None:
        await store.revoke_sessions(self.sessions, self.at, self.reason)


@dataclass(frozen=True, slots=True)
class DisableTunnel:
    """A tunnel is switched off."""

    tunnel: str
    do: Literal["disable_tunnel"] = "disable_tunnel"

    @property
    def key(self) -> str:
        return f"tunnel {self.tunnel}"

    async def store(self, store: Store) -> None:
        await store.set_disabled(self.tunnel, True)


@dataclass(frozen=True, slots=True)
class DeleteTunnel:
    """A tunnel is forgotten."""

    tunnel: str
    do: Literal["delete_tunnel"] = "delete_tunnel"

    @property
    def key(self) -> str:
        return f"tunnel {self.tunnel}"

    async def store(self, store: Store) -> None:
        await store.delete_tunnel(self.tunnel)


@dataclass(frozen=True, slots=True)
class AddLock:
    """A lock holds."""

    lock: Lock
    do: Literal["add_lock"] = "add_lock"

    @property
    def key(self) -> str:
        return f"lock {self.lock.id}"

    async def store(self, store: Store) -> None:
        await store.add_lock(self.lock)


@dataclass(frozen=True, slots=True)
class AddBar:
    """A revoked session keeps its issuer's tokens out."""

    bar: Bar
    do: Literal["add_bar"] = "add_bar"

    @property
    def key(self) -> str:
        return f"bar {self.bar.id}"

    async def store(self, store: Store) -> None:
        await store.add_bar(self.bar)


@dataclass(frozen=True, slots=True)
class ChangeUser:
    """A user is another one now, all but password and last login."""

    user: User
    do: Literal["change_user"] = "change_user"

    @property
    def key(self) -> str:
        return f"user {self.user.key}"

    async def store(self, store: Store) -> None:
        await store.change_user(self.user)


@dataclass(frozen=True, slots=True)
class DisableAgent:
    """An agent is switched off."""

    agent: str
    at: float
    do: Literal["disable_agent"] = "disable_agent"

    @property
    def key(self) -> str:
        return f"agent {self.agent}"

    async def store(self, store: Store) -> None:
        await store.disable_agent(self.agent, self.at)


@dataclass(frozen=True, slots=True)
class EndAdminTokens:
    """Admin tokens are forgotten; at least one."""

    tokens: tuple[str, ...]
    do: Literal["end_admin_tokens"] = "end_admin_tokens"

    @property
    def key(self) -> str:
        return f"admin token {self.tokens[0]}"

    async def store(self, store: Store) -> None:
        await store.remove_admin_tokens(self.tokens)


@dataclass(frozen=True, slots=True)
class DenyApproval:
    """An approval is denied, though it may have been given before."""

    approval: str
    at: float
    by: str
    reason: str
    do: Literal["deny_approval"] = "deny_approval"

    @property
    def key(self) -> str:
        return f"approval {self.approval}"

    async def store(self, store: Store) -> None:
        await store.deny_approval(self.approval, self.at, self.by, self.reason)


@dataclass(frozen=True, slots=True)
class RemovePasskey:
    """A passkey is forgotten."""

    passkey: str
    do: Literal["remove_passkey"] = "remove_passkey"

    @property
    def key(self) -> str:
        return f"passkey {self.passkey}"

    async def store(self, store: Store) -> None:
        await store.remove_passkey(self.passkey)


Known = (
    DenyApproval
    | EndAdminTokens
    | EndSessions
    | RemovePasskey
    | DisableTunnel
    | DeleteTunnel
    | AddBar
    | AddLock
    | ChangeUser
    | DisableAgent
)

_KNOWN: TypeAdapter[Known] = TypeAdapter(Annotated[Known, Field(discriminator="do")])


def to_json(change: Known) -> dict[str, Any]:
    """Return a change as JSON values; no password, not even its hash, is among them."""
    if isinstance(change, ChangeUser):
        change = replace(change, user=replace(change.user, password=None))
    found: dict[str, Any] = _KNOWN.dump_python(change, mode="json")
    return found


def from_json(values: Mapping[str, Any]) -> Known:
    """Return the change that `to_json` wrote; raises ValueError for anything else."""
    try:
        return _KNOWN.validate_python(values)
    except ValidationError as error:
        # Its text would repeat the values.
        raise ValueError(f"not a change: {error.error_count()} problems") from None
