"""The client's configuration: `client.toml`, overridden by `TUNNEL_CLIENT_*` variables."""

import ipaddress
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, SecretStr, field_validator
from pydantic import model_validator as whole

from shared import ours
from shared.audit.settings import FOLDER, AuditSettings
from shared.configfile import ConfigError, ConfigModel, SecretRef, load
from shared.configfile import SecretError as UnreadableSecretError
from shared.ids import is_name
from shared.keys import BadKeyError, decode_public
from shared.wire.limits import MAX_CATALOG_UPSTREAMS, MAX_LINKS
from tunnel_client.credentials.settings import CredentialSettings, Networks, VaultSettings
from tunnel_client.dial import DialTarget
from tunnel_client.errors import NoProgramError, SecretError, SettingsError
from tunnel_client.files import read_guarded
from tunnel_client.proxy_login import ProxyLogin
from tunnel_client.relay_url import RelayUrl
from tunnel_client.settings_sandbox import SandboxSettings
from tunnel_client.upstream.http_target import target_from

ENV_PREFIX = "TUNNEL_CLIENT_"
FILE_NAME = "client.toml"
POLICY_FILE = "policy.yaml"
BEFORE = ".before"
"""Behind the name of the file: how it was before the last enrolment."""
FOLDER_VARIABLE = "TUNNEL_CLIENT_FOLDER"
"""Names the folder that relative paths start from, for a file that is a copy of the real one."""
MAX_ADDRESSES = 8
_HTTP_ONLY = ("ca_file", "connect_timeout", "response_timeout", "credential", "addresses")
_STDIO_ONLY = (
    *("cwd", "inherit_env", "env", "max_children", "scrub", "allow_unpinned", "sandbox"),
)


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError("a name is 1 to 63 of a-z, 0-9 and -, and starts and ends without -")
    return text


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _relay_urls(urls: list[str]) -> list[str]:
    authorities = [RelayUrl.parse(url).authority for url in urls]
    if len(set(authorities)) < len(authorities):
        raise ValueError("each address once")
    return urls


def _public_key(text: str) -> str:
    try:
        decode_public(text)
    except BadKeyError:
        raise ValueError("not a public key as the relay prints it") from None
    return text


def check_proxy(text: str) -> str:
    """Return a proxy's address as it may stand in the configuration; raises ValueError."""
    if text == "none":
        return text
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError('a proxy is "http://host:port", "https://host:port" or "none"')
    if parts.username is not None or parts.password is not None:
        raise ValueError("no user or password here; put user:password where proxy_auth points")
    return text


def _upstream_url(text: str) -> str:
    # Judged by who dials it; as http, so that no trust store is loaded just to look at a URL.
    target_from(f"http:{text.removeprefix('https:')}" if text.startswith("https:") else text)
    return text


def _loopback_place(text: str) -> str:
    host, _, port = text.rpartition(":")
    try:
        loopback = ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        loopback = False
    if not loopback or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError('an address of loopback and a port, as in "127.0.0.1:9464"')
    return text


Name = Annotated[str, AfterValidator(_name)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class RelaySettings(ConfigModel):
    """Which relay, which of its tunnels, and the way to it."""

    url: Annotated[
        list[str],
        Field(min_length=1, max_length=MAX_ADDRESSES),
        BeforeValidator(_one_or_more),
        AfterValidator(_relay_urls),
    ]
    """`wss://host[:port]`, or a list of such addresses; `ws://` to this machine only."""
    links: Annotated[int, Field(ge=1, le=MAX_LINKS)] = 2
    """How many links are kept, spread over the addresses: when one is cut, calls take another."""
    tunnel: Name
    """Which of the relay's tunnels this client serves."""
    public_key: Annotated[str, AfterValidator(_public_key)]
    """The relay's key, pinned at enrolment."""
    ca_file: Path | None = None
    """Authorities (PEM) to trust beside the system's."""
    proxy: Annotated[str, AfterValidator(check_proxy)] | None = None
    """`http://host:port`, `https://host:port` or `none`; left out: HTTPS_PROXY and NO_PROXY."""
    proxy_auth: SecretRef | None = None
    """Where `user:password` for the proxy is: `env:NAME`, `file:PATH` or `credential:NAME`."""
    lease: Seconds = 30.0
    """How long what agents began here may run without a word from the relay."""


class UpstreamSettings(ConfigModel):
    """One private MCP server: exactly one of `url` and `command`. Times in seconds."""

    name: Name
    """As it stands in agents' URLs."""
    url: Annotated[str, AfterValidator(_upstream_url)] | None = None
    """`http://...`, `https://...` or `unix:/path.sock:/mcp`."""
    command: Annotated[list[str], Field(min_length=1)] | None = None
    """The argv list; never passed through a shell."""
    cwd: Path | None = None
    """Working folder of the program."""
    inherit_env: list[EnvName] = Field(default_factory=list)
    """Variables of our own environment that a child may see beside PATH, HOME and LANG."""
    env: dict[EnvName, SecretStr] = Field(default_factory=dict)
    """Variables a child gets on top: plain text, or `env:`, `file:`, `credential:` for a secret."""
    scrub: bool = True
    """`false` leaves answers as they are, though `env` names secrets."""
    ca_file: Path | None = None
    """For https: the authorities to trust instead of the system's (PEM)."""
    connect_timeout: Seconds = 5.0
    """For TCP and TLS to the server."""
    response_timeout: Seconds = 300.0
    """Longest wait for the head of an answer."""
    max_children: Annotated[int, Field(ge=1, le=1024)] = 32
    """Most processes at a time: one for the modern era, one for each legacy MCP session; one
    session of the relay has three of four at most."""
    pinning: Literal["required", "off"] = "required"
    """`off`: agents can call every tool of this server, new and changed ones too."""
    catalog_at_start: bool = True
    """Ask the server for its tools when the client starts; a program is started for that."""
    addresses: Networks = Field(default_factory=list)
    """Networks in which the server must be (`10.0.0.0/8`); empty: any but metadata services."""
    credential: CredentialSettings | None = None

    allow_unpinned: bool = False
    """Start a package runner though it fetches whatever version is newest; `status` says so."""
    sandbox: SandboxSettings = SandboxSettings()

    @field_validator("command")
    @classmethod
    def _check_command(cls, command: list[str] | None) -> list[str] | None:
        if command and (not command[0] or any("\0" in word for word in command)):
            raise ValueError('the first word of a command is a program, as in ["uvx", "server"]')
        return command

    @whole(mode="after")
    def _check_kind(self) -> Self:
        if (self.url is None) == (self.command is None):
            raise ValueError("give exactly one of url and command")
        wrong = _HTTP_ONLY if self.url is None else _STDIO_ONLY
        given = [key for key in wrong if key in self.model_fields_set]
        if given:
            raise ValueError(f"{given[0]} does not go with {'command' if self.command else 'url'}")
        if self.ca_file is not None and not str(self.url).startswith("https:"):
            raise ValueError("ca_file goes with an https:// url only")
        if self.addresses and str(self.url).startswith("unix:"):
            raise ValueError("addresses goes with http:// and https:// only")
        self._check_listed()
        return self

    def _check_listed(self) -> None:
        """Nobody's credential is taken unasked, and what cannot be listed can never be pinned."""
        credential = self.credential
        if credential is None or not credential.per_user or self.pinning == "off":
            return
        if credential.lists_as is None:
            raise ValueError(
                "set credential.lists_as, the user whose credential is shown to list the tools: "
                "it is one for each user, and tools that nobody listed cannot be pinned"
            )


class HealthSettings(ConfigModel):
    """`/healthz`, `/readyz` and `/metrics` for this machine alone; left out, nothing listens."""

    listen: Annotated[str, AfterValidator(_loopback_place)]
    """`127.0.0.1:9464` or another address of loopback, with a port."""

    @property
    def place(self) -> tuple[str, int]:
        """Address and port."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


class ClientSettings(ConfigModel):
    """The whole file."""

    state_dir: Path = Field(default_factory=lambda: default_state_dir(os.environ))
    """Folder of the key, the join counter and the control socket; mode 0700."""
    policy: Path = Path(POLICY_FILE)
    """What agents may do here: YAML, in the folder of this file unless it says another."""
    relay: RelaySettings
    vault: VaultSettings | None = None
    audit: AuditSettings = AuditSettings()
    health: HealthSettings | None = None
    upstream: list[UpstreamSettings] = Field(default_factory=list, max_length=MAX_CATALOG_UPSTREAMS)
    _file: Path | None = PrivateAttr(default=None)

    @field_validator("upstream")
    @classmethod
    def _check_names(cls, upstreams: list[UpstreamSettings]) -> list[UpstreamSettings]:
        names = [upstream.name for upstream in upstreams]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two upstreams are called {twice[0]}")
        return upstreams

    @property
    def file(self) -> Path | None:
        """The file that all this came from."""
        return self._file

    @property
    def own_files(self) -> tuple[Path, ...]:
        """What no program started by us may read: our own folders and the configuration."""
        own = (self.state_dir, self.audit_folder)
        if self._file is None:
            return own
        return (*own, self._file, self._file.with_name(self._file.name + BEFORE))

    @property
    def audit_folder(self) -> Path:
        """Where the log of what happened is."""
        return self.audit.folder or self.state_dir / FOLDER

    def find(self, name: str) -> UpstreamSettings | None:
        """Return the upstream of this name, or None."""
        return next((upstream for upstream in self.upstream if upstream.name == name), None)


def default_config(environ: Mapping[str, str]) -> Path:
    """Return where `client.toml` is when nobody says: /etc for root, else the user's own folder."""
    named = environ.get(f"{ENV_PREFIX}CONFIG")
    if named:
        return Path(named)
    if os.geteuid() == 0:
        return Path("/etc/tunnel-client", FILE_NAME)
    base = environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base, "tunnel-client", FILE_NAME)


def default_state_dir(environ: Mapping[str, str]) -> Path:
    """Return where the key is kept when nobody says; systemd's StateDirectory= comes first."""
    given = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/lib/tunnel-client")
    base = environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base, "tunnel-client")


def read_config(path: Path) -> str:
    """Return the text of a configuration file that only its owner or root can change.

    Who can write it can have programs started. Raises SettingsError and UnsafeFileError.
    """
    try:
        raw = read_guarded(path, forbidden=0o022, owners=(0, os.geteuid()))
        return raw.decode()
    except FileNotFoundError:
        raise SettingsError(f"no file {path}", "tunnel-client enroll wss://RELAY") from None
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not UTF-8") from None


def load_settings(path: Path, environ: Mapping[str, str]) -> ClientSettings:
    """Read and check the whole configuration; paths in it are relative to the file's folder.

    Raises SettingsError (with file, line and nearest key) and UnsafeFileError.
    """
    return parse_settings(read_config(path), path, environ)


def parse_settings(text: str, path: Path, environ: Mapping[str, str]) -> ClientSettings:
    """Check configuration text as if it stood in the file `path`; raises SettingsError."""
    try:
        settings = load(text, str(path), ClientSettings, environ, ENV_PREFIX)
    except ConfigError as error:
        raise SettingsError(str(error)) from None
    base = environ.get(FOLDER_VARIABLE) or path.absolute().parent
    resolved = _resolve(settings, Path(base))
    resolved._file = path.absolute()
    return resolved


def _resolve(settings: ClientSettings, base: Path) -> ClientSettings:
    def below(value: Path | None) -> Path | None:
        return None if value is None else base / value.expanduser()

    def moved(
        model: RelaySettings | UpstreamSettings | VaultSettings | AuditSettings, *keys: str
    ) -> dict[str, Any]:
        return {key: below(getattr(model, key)) for key in keys}

    def credential(upstream: UpstreamSettings) -> dict[str, Any]:
        given = upstream.credential
        return {"credential": None if given is None else given.below(base)}

    upstreams = [
        upstream.model_copy(update=moved(upstream, "ca_file", "cwd") | credential(upstream))
        for upstream in settings.upstream
    ]
    relay = settings.relay.model_copy(update=moved(settings.relay, "ca_file"))
    vault = settings.vault
    if vault is not None:
        vault = vault.model_copy(update=moved(vault, "ca_file"))
    audit = settings.audit.model_copy(update=moved(settings.audit, "folder"))
    paths = {"state_dir": below(settings.state_dir), "policy": below(settings.policy)}
    return settings.model_copy(
        update={"relay": relay, "vault": vault, "audit": audit, "upstream": upstreams} | paths
    )


def dial_targets(relay: RelaySettings, environ: Mapping[str, str]) -> list[DialTarget]:
    """Return what `dial` needs for each address; the proxy's login must be there: SecretError."""
    reference = relay.proxy_auth
    login = ProxyLogin(lambda: read_secret(reference, environ)) if reference else None
    return [DialTarget(RelayUrl.parse(url), relay.ca_file, relay.proxy, login) for url in relay.url]


def dial_target(relay: RelaySettings, environ: Mapping[str, str]) -> DialTarget:
    """Return what `dial` needs for the first address; raises SecretError."""
    return dial_targets(relay, environ)[0]


def read_secret(reference: SecretRef, environ: Mapping[str, str]) -> SecretStr:
    """Fetch the secret a reference points to; raises SecretError, which never holds it."""

    def read(path: str) -> str:
        # systemd hands credentials out as 0440; nobody else may read or change the file.
        owners = (0, *ours.owners())
        return read_guarded(Path(path), forbidden=0o027, owners=owners, links=None).decode()

    try:
        return reference.resolve(environ, read)
    except UnreadableSecretError as error:
        raise SecretError(str(error)) from None


def find_program(upstream: UpstreamSettings, environ: Mapping[str, str]) -> list[str]:
    """Return the argv of a stdio upstream with the absolute path of its program.

    A name without a slash is looked up in PATH once, here; raises NoProgramError.
    """
    argv = upstream.command or []
    program = argv[0] if argv else ""
    if "/" in program:
        place = Path(upstream.cwd or Path.cwd(), program)
        found = str(place) if os.access(place, os.X_OK) and place.is_file() else None
    else:
        found = shutil.which(program, path=environ.get("PATH", os.defpath))
    if found is None:
        raise NoProgramError(
            f"upstream {upstream.name}: no program {program!r} that may be run",
            "give the absolute path, or install it",
        )
    return [str(Path(found).absolute()), *argv[1:]]
