"""The relay's configuration: one TOML file, overridden by `TUNNEL_RELAY_*`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, IPvAnyNetwork, model_validator

from shared.audit.settings import FOLDER, AuditSettings
from shared.configfile import ConfigError, ConfigModel, load
from shared.wire import limits as wire
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.files import read_config
from tunnel_relay.identity.resources import SCOPE
from tunnel_relay.setting_types import (
    AbsolutePath,
    Grace,
    Origin,
    Seconds,
    as_tuple,
    is_anywhere,
    is_loopback,
)
from tunnel_relay.settings_approvals import ApprovalSettings
from tunnel_relay.settings_issuers import MAX_ISSUERS, IssuerSettings, OidcSettings

PREFIX = "TUNNEL_RELAY_"
POLICY_FILE = "relay-policy.yaml"
DEV_CERTIFICATE = "dev-cert.pem"
DEV_AUTHORITY = "dev-ca.pem"
MAX_SOCKET_PATH = 100
"""Bytes; the kernel takes 107 for the path of a Unix socket."""


class Listen(ConfigModel):
    """Where agents and clients connect to."""

    host: str = "127.0.0.1"
    """An address, or 0.0.0.0 or :: for all."""
    port: int = Field(default=8443, ge=0, le=65535)
    """0 takes a free one and logs it."""


class Tls(ConfigModel):
    """Certificate chain and key in PEM; left out when a balancer in front ends TLS."""

    cert_file: AbsolutePath
    key_file: AbsolutePath


class LinksListen(ConfigModel):
    """A listener of its own for links and enrolment; the main one then serves agents only."""

    host: str = "127.0.0.1"
    port: int = Field(ge=0, le=65535)
    tls: Tls | None = None


class AdminListen(ConfigModel):
    """The admin API and the console, on a listener of their own; left out, there is none."""

    host: str = "127.0.0.1"
    port: int = Field(default=8444, ge=0, le=65535)
    """0 takes a free one and logs it."""
    public_url: Origin | None = None
    """The origin in the browser's address bar; left out: the listener's own."""
    tls: Tls | None = None
    """Certificate chain and key in PEM. Needed off loopback."""

    @property
    def origin(self) -> str | None:
        """Where browsers find it, None when that is not known before it listens."""
        if self.public_url is not None or not self.port:
            return self.public_url
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self.tls is None else 'https'}://{shown}:{self.port}"


class SessionRules(ConfigModel):
    """How long sessions may live."""

    default_ttl: Seconds = 12 * 3600.0
    """Lifetime of a session created without --ttl."""
    max_ttl: Seconds = 30 * 86400.0
    """Longest lifetime that may be asked for."""
    default_idle: Seconds = 3600.0
    """Unused for this long, a session created without --idle ends."""


class OAuth(ConfigModel):
    """The relay's own authorization server: agents that log their users in by a browser."""

    enabled: bool = True
    """Off: no login here; agents bring session tokens, or tokens of another issuer."""
    access_ttl: Seconds = 3600.0
    """Lifetime of an access token; it is renewed as long as its session lives."""
    metadata_documents: bool = True
    """Take agents that describe themselves at an https URL, which is their client id."""
    document_hosts: tuple[str, ...] = ()
    """Hosts of such documents that may have private addresses."""
    dynamic_registration: bool = False
    """Let any agent register itself (RFC 7591); old agents need it."""


class Limits(ConfigModel):
    """Bounds; bytes and seconds."""

    body_bytes: int = Field(default=wire.MAX_BODY_BYTES, ge=1024, le=wire.MAX_BODY_BYTES)
    """Largest request body; 413 beyond it."""
    header_bytes: int = Field(default=32 * wire.KIB, ge=1024, le=32 * wire.KIB)
    """Largest request head; 431 beyond it."""
    header_fields: int = Field(default=wire.MAX_HEAD_FIELDS, ge=10, le=wire.MAX_HEAD_FIELDS)
    """Most fields in a request head; 431 beyond it."""
    handshake: Seconds = 10.0
    """For a client to prove itself after the upgrade."""
    ping_interval: Seconds = 15.0
    """How often both ends of a link ping."""
    ping_deadline: Seconds = 10.0
    """For an answer, or any message; then the link is given up."""
    resume_seconds: Grace = 30.0
    """How long calls wait when a link fell silent, for its client to go on with them over another
    connection, never longer than the lease; 0: not at all."""
    resume_closed_seconds: Grace = 0.9
    """The same when the connection was closed, as it is when a client is killed: agents hear of it
    within a second. A client that lives dials anew at once. More where a proxy on the way restarts
    for longer."""
    lease: Seconds = 30.0
    """How long the relay serves from memory when the database fails; then it refuses. Also the
    longest a client may serve without hearing the relay, so ping_interval and ping_deadline
    together must not be longer."""
    drain_seconds: Grace = 30.0
    """How long a relay that was told to stop waits for calls; a second signal ends the wait."""
    drain_notice: Grace = 1.0
    """How long it listens on at least, so that a balancer sees /readyz and sends agents elsewhere;
    it listens on for as long as calls run that began before."""
    wait_for_client: Seconds = 5.0
    """How long a call is held for a client that is not connected; then 503."""
    sse_comment: Seconds = 15.0
    """Silence on an event stream after which the agent gets a comment."""
    links: int = Field(default=20_000, ge=1)
    """Most links at a time, of all clients: 10,000 that keep two each."""
    links_per_client: int = Field(default=wire.MAX_LINKS, ge=1, le=wire.MAX_LINKS)
    """Most links of one client; a further one is refused, and its client goes on without it."""
    session_calls_per_second: float = Field(default=200, ge=0, allow_inf_nan=False)
    """Requests of one session, twice that at once; 429 beyond it; 0: no bound."""
    session_streams: int = Field(default=256, ge=0)
    """Calls and event streams of one session at a time; 429 beyond it; 0: no bound."""
    user_calls_per_second: float = Field(default=500, ge=0, allow_inf_nan=False)
    """The same for all sessions of one user together."""
    user_streams: int = Field(default=1024, ge=0)
    """The same for all sessions of one user together."""
    session_body_bytes: int = Field(default=32 * wire.MIB, ge=0)
    """Bytes of one session's request bodies on their way through the relay; 429 beyond it; 0: no
    bound."""
    user_body_bytes: int = Field(default=64 * wire.MIB, ge=0)
    """The same for all sessions of one user together."""
    user_sessions: int = Field(default=1000, ge=1)
    """Living sessions of one user."""
    bad_tokens_per_minute: int = Field(default=120, ge=1)
    """Requests with a wrong token from one address (IPv6: one /64); 429 beyond it, if no
    balancer stands in front."""
    enrolments_per_minute: int = Field(default=10, ge=1)
    """Attempts to enrol from one address (IPv6: one /64); 429 beyond it."""


class Settings(ConfigModel):
    """Everything `tunnel-relay serve` needs to know."""

    public_url: Annotated[tuple[Origin, ...], BeforeValidator(as_tuple), Field(min_length=1)]
    """The origins agents and clients may use, the main one first."""
    state_dir: AbsolutePath
    """Folder of the database, the keys and the control socket; mode 0700."""
    listen: Listen = Listen()
    tls: Tls | None = None
    links: LinksListen | None = None
    """Left out, links come in on the same port as agents. Name its origin in public_url too."""
    admin: AdminListen | None = None
    trusted_proxies: tuple[IPvAnyNetwork, ...] = ()
    """Whose forwarded headers are believed."""
    allowed_origins: tuple[Origin, ...] = ()
    """Web pages that may call the relay from a browser."""
    database_file: AbsolutePath | None = None
    """SQLite; left out: relay.db in state_dir."""
    relay_key_file: AbsolutePath | None = None
    """Left out: relay.key in state_dir."""
    mcp_session_key_file: AbsolutePath | None = None
    """Left out: mcp-session.key in state_dir."""
    policy: AbsolutePath | None = None
    """What agents may do through this relay, YAML; left out: relay-policy.yaml beside this file."""
    sessions: SessionRules = SessionRules()
    oauth: OAuth = OAuth()
    oidc: OidcSettings | None = None
    approvals: ApprovalSettings = ApprovalSettings()
    audit: AuditSettings = AuditSettings()
    issuer: list[IssuerSettings] = Field(default_factory=list, max_length=MAX_ISSUERS)
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _hold_together(self) -> "Settings":
        listeners = [(self.listen.host, self.tls)]
        if self.links is not None:
            listeners.append((self.links.host, self.links.tls))
        open_plain = any(tls is None and not is_loopback(host) for host, tls in listeners)
        if open_plain and not self.trusted_proxies:
            raise ValueError(
                "without [tls] the relay listens on loopback only, "
                "or behind a balancer named in trusted_proxies"
            )
        self._check_admin()
        self._check_issuers()
        for share in (self.limits.session_body_bytes, self.limits.user_body_bytes):
            if 0 < share < self.limits.body_bytes:
                raise ValueError("a share of body bytes is smaller than limits.body_bytes")
        if len(str(self.control_socket).encode()) > MAX_SOCKET_PATH:
            raise ValueError("state_dir is too long for a Unix socket inside it; shorten it")
        if self.sessions.default_ttl > self.sessions.max_ttl:
            raise ValueError("sessions.default_ttl is longer than sessions.max_ttl")
        if self.limits.ping_interval + self.limits.ping_deadline > self.limits.lease:
            raise ValueError("limits.ping_interval and ping_deadline together exceed limits.lease")
        return self

    def _check_admin(self) -> None:
        admin = self.admin
        if admin is None:
            return
        if admin.tls is None and not is_loopback(admin.host):
            # A proxy in front is no excuse here: passwords would cross a network in clear.
            raise ValueError("without [admin.tls] the admin listener stays on loopback")
        if is_anywhere(admin.host) and admin.public_url is None:
            raise ValueError("on all addresses the admin listener needs admin.public_url")

    def _check_issuers(self) -> None:
        urls = [each.url for each in self.issuer]
        if len(set(urls)) != len(urls):
            raise ValueError("an [[issuer]] is there twice")
        if self.oauth.enabled and self.public_url[0] in urls:
            raise ValueError("the relay itself cannot be an [[issuer]] beside its own oauth")
        if self.oidc is not None and not self.oauth.enabled and self.admin is None:
            raise ValueError("with [oidc] but neither oauth nor [admin] nobody could log in")

    @property
    def authorization_servers(self) -> tuple[str, ...]:
        """The issuers whose tokens agents may bring, the preferred one first."""
        own = (self.public_url[0],) if self.oauth.enabled else ()
        return (*(each.url for each in self.issuer), *own)

    @property
    def scopes(self) -> tuple[str, ...]:
        """What agents are told to ask for: of the relay, and what issuers' tokens must have."""
        own = [SCOPE] if self.oauth.enabled or not self.issuer else []
        theirs = [scope for each in self.issuer for scope in (each.scope or "").split()]
        return tuple(dict.fromkeys([*own, *theirs]))

    @property
    def link_origins(self) -> tuple[str, ...]:
        """The origins as a client dials them: `wss://host[:port]` (`ws://` on loopback)."""
        return tuple("ws" + origin.removeprefix("http") for origin in self.public_url)

    @property
    def dev_authority(self) -> Path | None:
        """What clients must trust when `init --demo` made the certificate, else None."""
        made = self.state_dir / DEV_CERTIFICATE
        return self.state_dir / DEV_AUTHORITY if self.tls and self.tls.cert_file == made else None

    @property
    def control_socket(self) -> Path:
        """Where commands reach the running relay."""
        return self.state_dir / "control.sock"

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.database_file or self.state_dir / "relay.db"

    @property
    def journal(self) -> Path:
        """Where revocations are kept that the database did not take."""
        return self.state_dir / "pending.jsonl"

    @property
    def audit_folder(self) -> Path:
        """Where the log of what happened is."""
        return self.audit.folder or self.state_dir / FOLDER

    @property
    def relay_key(self) -> Path:
        """The Ed25519 key that clients pin, PEM."""
        return self.relay_key_file or self.state_dir / "relay.key"

    @property
    def mcp_session_key(self) -> Path:
        """The key that binds MCP session ids to sessions, hex."""
        return self.mcp_session_key_file or self.state_dir / "mcp-session.key"


def read_settings(path: Path, environ: Mapping[str, str]) -> Settings:
    """Read and check the file; raises RelayError with the whole report as its message."""
    settings = parse_settings(read_config(path), str(path), environ)
    policy = settings.policy or path.absolute().parent / POLICY_FILE
    return settings.model_copy(update={"policy": policy})


def parse_settings(text: str, source: str, environ: Mapping[str, str]) -> Settings:
    """Check a configuration's text; raises RelayError CONFIG_INVALID."""
    try:
        return load(text, source, Settings, environ, PREFIX)
    except ConfigError as error:
        raise RelayError(Code.CONFIG_INVALID, str(error)) from None
