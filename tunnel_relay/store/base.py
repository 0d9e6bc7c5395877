"""What the relay remembers across restarts, and the interface behind which it is kept.

Times are seconds since the epoch, spans are seconds. Secrets arrive here as SHA-256 digests only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from shared.errors import TunnelError


class StoreError(TunnelError):
    """The store failed or refused; nothing of the attempted change was kept."""


class ExistsError(StoreError):
    """Something of this name or identifier is there already."""


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A named registration and who answers for it."""

    name: str
    owner: str
    created: float
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class Instance:
    """One enrolled client of a tunnel; `counter` is the epoch of its newest link."""

    id: str
    tunnel: str
    public_key: bytes
    counter: int
    created: float
    locked: str | None
    """Why no link is accepted with this key, None while it is good."""
    host: str
    """What the client said about its machine, for people."""


@dataclass(frozen=True, slots=True)
class JoinCode:
    """Permission for one client to enrol; `digest` is `shared.ids.token_digest` of the code."""

    digest: bytes
    tunnel: str
    created: float
    expires: float
    used: float | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A grant: user x agent x tunnel/upstream, until `expires`, or `idle` seconds unused."""

    id: str
    digest: bytes
    user: str
    agent: str
    tunnel: str
    upstream: str
    created: float
    expires: float
    idle: float
    last_used: float
    revoked: float | None = None
    reason: str | None = None

    @property
    def place(self) -> str:
        """Tunnel and upstream, as they stand in the URL."""
        return f"{self.tunnel}/{self.upstream}"


class LockKind(StrEnum):
    """What a lock can be about."""

    USER = "user"
    AGENT = "agent"
    UPSTREAM = "upstream"
    TUNNEL = "tunnel"
    KEY = "key"


@dataclass(frozen=True, slots=True)
class Lock:
    """A deny object. `subject` is a name, `tunnel/upstream`, or a client's identifier."""

    id: str
    kind: LockKind
    subject: str
    reason: str
    created: float
    expires: float | None
    """When it lifts itself; None: never."""


class Joining(StrEnum):
    """What became of an attempt to enrol with a join code."""

    JOINED = "joined"
    UNKNOWN = "unknown"
    USED = "used"
    EXPIRED = "expired"
    DISABLED = "disabled"


class Verdict(StrEnum):
    """What became of a client's attempt to open a link."""

    ADMITTED = "admitted"
    UNKNOWN = "unknown"
    DISABLED = "disabled"
    LOCKED = "locked"
    CLONED = "cloned"
    """The counter was behind: two machines hold this key. It is locked from now on."""


class Store(Protocol):
    """The relay's memory; every method raises StoreError and is one transaction."""

    async def close(self) -> None:
        """Let go of the database; the store cannot be used afterwards."""

    async def add_tunnel(self, tunnel: Tunnel, code: JoinCode) -> None:
        """Register a tunnel with its first join code; ExistsError when the name is taken."""

    async def tunnel(self, name: str) -> Tunnel | None:
        """Return one tunnel."""

    async def tunnels(self) -> list[Tunnel]:
        """Return all tunnels by name."""

    async def set_disabled(self, name: str, disabled: bool) -> bool:
        """Switch a tunnel off or on; False when there is none of this name."""

    async def delete_tunnel(self, name: str) -> bool:
        """Forget a tunnel with its instances, join codes and sessions; False when unknown."""

    async def replace_join_code(self, code: JoinCode, drop_instances: bool) -> None:
        """Make `code` the only unused one; with `drop_instances` also forget enrolled clients."""

    async def join(self, digest: bytes, now: float, instance: Instance) -> tuple[Joining, str]:
        """Use up a join code and enrol `instance` into the tunnel it names (second value).

        The tunnel in `instance` is ignored. Of any number of racers exactly one gets JOINED.
        Raises ExistsError, with the code unused, when the instance identifier is taken.
        """

    async def instance(self, tunnel: str, instance: str) -> Instance | None:
        """Return one enrolled client."""

    async def instances(self, tunnel: str | None = None) -> list[Instance]:
        """Return the clients of one tunnel, or of all, oldest first."""

    async def admit(self, tunnel: str, instance: str, counter: int) -> Verdict:
        """Accept `counter` only when it is above the stored one, and store it; lock on a clone."""

    async def add_session(self, session: Session) -> None:
        """Keep a new session; StoreError when its tunnel is unknown."""

    async def sessions(self) -> list[Session]:
        """Return every session still kept, ended ones too, oldest first."""

    async def revoke_session(self, session: str, now: float, reason: str) -> bool:
        """Mark a session revoked, durably; False when unknown. The first reason stays."""

    async def touch_sessions(self, last_used: Mapping[str, float]) -> None:
        """Write back when sessions were last used; never moves a time backwards."""

    async def add_lock(self, lock: Lock) -> None:
        """Keep a lock; the same one again changes nothing."""

    async def locks(self) -> list[Lock]:
        """Return every lock still kept, oldest first."""

    async def remove_lock(self, lock: str) -> bool:
        """Forget a lock; False when unknown."""

    async def purge_sessions(self, before: float) -> int:
        """Forget sessions that ended before this time; returns how many."""
