"""What the relay remembers across restarts, and the interface behind which it is kept.

Times are seconds since the epoch, spans are seconds. Secrets arrive here as SHA-256 digests only.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from shared.errors import TunnelError
from tunnel_relay.store.approvals import ApprovalStore
from tunnel_relay.store.passkeys import PasskeyStore
from tunnel_relay.store.people import PeopleStore
from tunnel_relay.store.tasks import TaskStore


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


class Door(StrEnum):
    """By which way a session came about."""

    TOKEN = "token"  # noqa: S105 # a word
    """An admin made it and handed its token over."""
    OAUTH = "oauth"
    """A user logged in here and consented."""
    ISSUER = "issuer"
    """An external issuer's access token."""


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
    door: Door = Door.TOKEN
    classes: tuple[str, ...] = ()
    """What its tools may do; empty: not narrowed."""
    granted_by: str = ""
    """The admin, or the user who consented."""
    calls: int = 0

    @property
    def place(self) -> str:
        """Tunnel and upstream, as they stand in the URL."""
        return f"{self.tunnel}/{self.upstream}"


class TokenKind(StrEnum):
    """What a token of a session is good for."""

    ACCESS = "access"
    REFRESH = "refresh"


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a session that came by OAuth; `digest` is `shared.ids.token_digest` of it."""

    digest: bytes
    session: str
    kind: TokenKind
    created: float
    expires: float
    used: float | None = None
    """When a refresh token was traded in, or its place taken by another."""
    parent: bytes | None = None
    """Digest of the refresh token it was got for, while it holds that place."""


TakeBack = Callable[[bytes], bool]
"""Takes an access token back that was never used; False when it was."""


class Renewal(StrEnum):
    """What became of an attempt to trade a refresh token in."""

    RENEWED = "renewed"
    REPEATED = "repeated"  # what it brought the first time was never used
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REUSED = "reused"


class Role(StrEnum):
    """What a user may do beyond using servers. An admin may do everything."""

    USER = "user"
    AUDITOR = "auditor"
    APPROVER = "approver"
    ADMIN = "admin"


LOCAL = "local"
"""The issuer of accounts that the relay keeps itself."""


@dataclass(frozen=True, slots=True)
class User:
    """A person, known as issuer + subject: `key` is the login name, or `issuer#subject`."""

    key: str
    name: str
    """For people to read; decides nothing."""
    created: float
    roles: tuple[Role, ...] = (Role.USER,)
    groups: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    """`tunnel/upstream`, `tunnel/*` or `*`: what the user may open sessions for."""
    password: str | None = field(default=None, repr=False)
    """An argon2 hash; None: no login here."""
    disabled: float | None = None
    last_login: float | None = None
    as_of: float | None = None
    """When the issuer last said what the user is; None: only admins did. Older words count not."""

    @property
    def issuer(self) -> str:
        """Who vouches for the user."""
        return self.key.partition("#")[0] if "#" in self.key else LOCAL

    @property
    def subject(self) -> str:
        """What the issuer calls the user."""
        return self.key.partition("#")[2] if "#" in self.key else self.key


class AgentKind(StrEnum):
    """How the relay came to know an agent."""

    REGISTERED = "registered"
    """By an admin."""
    DOCUMENT = "document"
    """By a client-id metadata document: its identifier is an https URL."""
    DYNAMIC = "dynamic"
    """By dynamic registration (RFC 7591), where that is switched on."""


@dataclass(frozen=True, slots=True)
class Agent:
    """A registered OAuth client: `id` is its client id."""

    id: str
    name: str
    kind: AgentKind
    redirect_uris: tuple[str, ...]
    created: float
    secret: bytes | None = field(default=None, repr=False)
    """Digest of a client secret; None: a public client."""
    disabled: float | None = None


@dataclass(frozen=True, slots=True)
class AdminToken:
    """A user's key to the admin API, until `expires`; `digest` is that of the token."""

    id: str
    digest: bytes = field(repr=False)
    user: str
    name: str
    """What it is for, in the words of whoever made it."""
    created: float
    expires: float


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


@dataclass(frozen=True, slots=True)
class Bar:
    """What is left of a revoked session that an issuer's token had opened: it keeps others out.

    `id` is that of the session. A token opens a session of this user, agent and server again when
    the user logged in at the issuer after `since`, or when an admin lifts the bar.
    """

    id: str
    user: str
    agent: str
    tunnel: str
    upstream: str
    since: float
    reason: str


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


class Store(TaskStore, ApprovalStore, PasskeyStore, PeopleStore, Protocol):
    """The relay's memory; every method raises StoreError and is one transaction."""

    async def close(self) -> None:
        """Let go of the database; the store cannot be used afterwards."""

    async def ping(self) -> None:
        """Write something and make it durable: proof that a change could be stored now."""

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

    async def add_session(self, session: Session, tokens: Sequence[Token] = ()) -> None:
        """Keep a new session with its tokens; StoreError when its tunnel is unknown."""

    async def tokens(self, now: float) -> list[Token]:
        """Return every access token that has not expired."""

    async def renew(
        self, digest: bytes, agent: str, now: float, new: Sequence[Token], take_back: TakeBack
    ) -> tuple[Renewal, str]:
        """Trade an agent's refresh token in for `new` ones of its session, which is returned too.

        One racer gets RENEWED; for a while each other voids what the one before got, REPEATED.
        """

    async def session_of(self, digest: bytes) -> str | None:
        """Return the session that a token, of whatever kind and age, belongs to."""

    async def sessions(self) -> list[Session]:
        """Return every session still kept, ended ones too, oldest first."""

    async def revoke_session(self, session: str, now: float, reason: str) -> bool:
        """Mark a session revoked, durably; False when unknown. The first reason stays."""

    async def revoke_sessions(self, sessions: Sequence[str], now: float, reason: str) -> None:
        """Mark sessions revoked, durably; as `revoke_session` does."""

    async def touch_sessions(self, used: Mapping[str, tuple[float, int]]) -> None:
        """Write back when sessions were last used and how often; never moves a time backwards."""

    async def add_lock(self, lock: Lock) -> None:
        """Keep a lock; the same one again changes nothing."""

    async def locks(self) -> list[Lock]:
        """Return every lock still kept, oldest first."""

    async def remove_lock(self, lock: str) -> bool:
        """Forget a lock; False when unknown."""

    async def add_bar(self, bar: Bar) -> None:
        """Keep a bar, in place of one on the same user, agent and server."""

    async def bars(self) -> list[Bar]:
        """Return every bar, oldest first."""

    async def remove_bar(self, bar: str) -> None:
        """Forget a bar by its identifier."""

    async def purge_sessions(self, before: float) -> int:
        """Forget sessions, and tokens, that ended before this time; returns how many sessions."""

    async def mark_time(self, now: float) -> None:
        """Keep the latest time seen; never moves it backwards."""

    async def latest_time(self) -> float:
        """Return the latest time seen, 0 at first."""
