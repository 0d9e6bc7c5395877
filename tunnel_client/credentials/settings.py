"""What `[upstream.credential]` and `[vault]` may say; nothing is read here but the text."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, IPvAnyNetwork, model_validator
from pydantic_core import CoreSchema, core_schema

from shared.configfile import ConfigModel, SecretRef
from tunnel_client.upstream.http_request import NEVER_INJECTED, TOKEN
from tunnel_client.upstream.http_target import target_from

USER = "{user}"
_USER_NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")
"""No slash, no two dots, no leading dot: the name becomes part of a path."""


class BadUserError(ValueError):
    """A user's name cannot stand in a path; the message does not repeat it."""


class Place:
    """Where a secret is kept: a reference, `vault:PATH#FIELD`, or a command that prints it."""

    __slots__ = ("command", "reference", "vault")

    def __init__(
        self,
        reference: SecretRef | None = None,
        vault: tuple[str, str] | None = None,
        command: tuple[str, ...] = (),
    ) -> None:
        self.reference = reference
        self.vault = vault
        self.command = command

    @classmethod
    def parse(cls, given: object) -> "Place":
        """Read what stands in the file; raises ValueError, which does not repeat it."""
        if isinstance(given, cls):
            return given
        if isinstance(given, dict):
            words = given.get("command")
            if set(given) != {"command"} or not _is_command(words):
                raise ValueError('a command is { command = ["/absolute/program", "argument"] }')
            return cls(command=tuple(words or ()))
        if isinstance(given, str) and given.startswith("vault:"):
            path, found, field = given.removeprefix("vault:").partition("#")
            parts = path.split("/")
            if not found or not field or len(parts) < 2 or not all(map(_is_vault_part, parts)):
                raise ValueError("a secret in a vault is vault:MOUNT/PATH#FIELD")
            return cls(vault=(path, field))
        try:
            return cls(reference=SecretRef.parse(given))
        except ValueError:
            raise ValueError(
                "write env:NAME, file:PATH, credential:NAME, vault:MOUNT/PATH#FIELD or "
                '{ command = ["/program"] } here, never the secret itself'
            ) from None

    @property
    def per_user(self) -> bool:
        """Tell whether each user has a secret of their own here."""
        return any(USER in text for text in self._texts())

    def of(self, user: str) -> "Place":
        """Return the place of one user's secret; raises BadUserError."""
        if _USER_NAME.fullmatch(user) is None:
            raise BadUserError("the user's name cannot be part of a place")

        def put(text: str) -> str:
            return text.replace(USER, user)

        reference = self.reference
        return Place(
            None if reference is None else SecretRef(reference.kind, put(reference.name)),
            None if self.vault is None else (put(self.vault[0]), put(self.vault[1])),
            tuple(map(put, self.command)),
        )

    def below(self, base: Path) -> "Place":
        """Return the same place with a relative path standing beside the configuration."""
        reference = self.reference
        if reference is None or reference.kind != "file":
            return self
        return Place(SecretRef("file", str(base / Path(reference.name).expanduser())))

    def _texts(self) -> tuple[str, ...]:
        reference = () if self.reference is None else (self.reference.name,)
        return (*reference, *(self.vault or ()), *self.command)

    def __str__(self) -> str:
        if self.vault is not None:
            return f"vault:{self.vault[0]}#{self.vault[1]}"
        return f"command:{self.command[0]}" if self.command else str(self.reference)

    def __repr__(self) -> str:
        return f"Place({self})"

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.to_string_ser_schema()
        )


def _is_command(words: Any) -> bool:
    if not isinstance(words, list) or not words:
        return False
    plain = all(isinstance(word, str) and "\0" not in word for word in words)
    return plain and words[0].startswith("/")


def _is_vault_part(part: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_.@{}-]+", part) is not None and part.strip(".") != ""


def _header_name(name: str) -> str:
    raw = name.encode()
    if TOKEN.fullmatch(raw) is None or raw.lower() in NEVER_INJECTED:
        raise ValueError("not the name of a header that can be set")
    return name.lower()


def _secure_url(url: str) -> str:
    if url.startswith("unix:"):
        raise ValueError("write https://host/path")
    host = target_from("http:" + url.partition(":")[2]).host
    if not url.startswith("https://") and host not in ("127.0.0.1", "::1", "localhost"):
        raise ValueError("https only, or http on this machine")
    return url


SecureUrl = Annotated[str, AfterValidator(_secure_url)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
Networks = list[IPvAnyNetwork]
Kind = Literal[
    "bearer", "header", "api_key", "basic", "mtls", "client_credentials", "token_exchange"
]
_KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "bearer": (("value",), ("users", "lists_as", "refresh")),
    "header": (("name", "value"), ("users", "lists_as", "refresh")),
    "api_key": (("name", "value"), ("users", "lists_as", "refresh")),
    "basic": (("user", "value"), ("users", "lists_as", "refresh")),
    "mtls": (("cert_file", "key_file"), ()),
    "client_credentials": (
        ("token_url", "client_id", "client_secret"),
        ("scope", "resource", "audience", "ca_file", "addresses"),
    ),
    "token_exchange": (
        ("token_url", "client_id", "client_secret"),
        (
            *("scope", "resource", "audience", "ca_file", "addresses", "value", "users"),
            *("assertion_key", "assertion_issuer", "assertion_key_id", "lists_as"),
        ),
    ),
}
"""For each kind the keys it needs and the keys it may have, beside those of all."""
_ALWAYS = {"kind", "origin", "scrub"}


class CredentialSettings(ConfigModel):
    """How the client shows an upstream who it is; the agent never sees any of it."""

    kind: Kind
    """`bearer`, `header`, `api_key`, `basic`, `mtls`, `client_credentials`, `token_exchange`."""
    origin: str
    """`scheme://host:port` of the url this was entered for; it goes nowhere else."""
    scrub: bool = True
    """`false` leaves answers as they are, for secrets too short to be looked for."""
    name: HeaderName | None = None
    """The header, for `header` and `api_key`."""
    user: str | None = None
    """User name for `basic`."""
    value: Place | None = None
    """Where the secret is; `{user}` stands for the session's user. For `token_exchange`: the
    subject token."""
    users: dict[str, Place] = Field(default_factory=dict)
    """Places of single users' secrets; they go before `value`."""
    lists_as: str | None = None
    """Where each user has a credential: whose is shown when the client itself asks for tools."""
    refresh: Annotated[float, Field(ge=1, le=86_400, allow_inf_nan=False)] = 300.0
    """Seconds after which a secret of a vault, a command or one user is read again."""
    cert_file: Path | None = None
    """Client certificate for `mtls` (PEM)."""
    key_file: Path | None = None
    """Its key; the same rules as for a file with a secret."""
    token_url: SecureUrl | None = None
    """Token endpoint of the authorization server."""
    client_id: str | None = None
    """Who the client is there."""
    client_secret: Place | None = None
    """Where its secret is."""
    scope: str | None = None
    """Scopes to ask for."""
    resource: str | None = None
    """The upstream as the authorization server knows it (RFC 8707)."""
    audience: str | None = None
    """The same, for servers that call it so."""
    ca_file: Path | None = None
    """Authorities to trust at `token_url` instead of the system's (PEM)."""
    addresses: Networks = Field(default_factory=list)
    """Networks in which `token_url` must lie; empty: any but metadata services."""
    assertion_key: Path | None = None
    """For `token_exchange` without `value`: the private key (PEM) that signs who the user is."""
    assertion_issuer: str | None = None
    """`iss` of that assertion."""
    assertion_key_id: str | None = None
    """`kid` of that assertion."""

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        needed, optional = _KEYS[self.kind]
        given = self.model_fields_set
        missing = [key for key in needed if key not in given]
        if missing and not (missing == ["value"] and self.users):
            raise ValueError(f"{self.kind} needs {missing[0]}")
        wrong = sorted(given - _ALWAYS - {*needed, *optional})
        if wrong:
            raise ValueError(f"{wrong[0]} does not go with {self.kind}")
        if self.kind == "token_exchange":
            self._check_exchange()
        self._check_places()
        self._check_lists_as()
        return self

    def _check_places(self) -> None:
        if self.users and self.value is not None and not self.value.per_user:
            raise ValueError("beside users a value holds {user}: none gets the secret of another")
        if self.user is not None and (":" in self.user or not self.user.isprintable()):
            raise ValueError("a user name has no colon and no control character")
        for place in (self.value, self.client_secret):
            reference = None if place is None else place.reference
            if reference is not None and reference.kind == "env" and USER in reference.name:
                raise ValueError("{user} goes with file:, credential:, vault: and commands only")
        if self.client_secret is not None and self.client_secret.per_user:
            raise ValueError("client_secret is one for all users")

    def _check_exchange(self) -> None:
        asserted = self.assertion_key is not None
        if asserted == (self.value is not None or bool(self.users)):
            raise ValueError("token_exchange needs either value (or users) or assertion_key")
        if asserted and self.assertion_issuer is None:
            raise ValueError("assertion_key needs assertion_issuer")

    def _check_lists_as(self) -> None:
        user = self.lists_as
        if user is None or user in self.users:
            return
        if not self.per_user:
            raise ValueError("lists_as goes with a credential for each user only")
        if self.assertion_key is not None:
            if not user or not user.isprintable():
                raise ValueError("lists_as is a user, written as in users")
        elif self.value is None:
            raise ValueError("lists_as is none of users")
        elif _USER_NAME.fullmatch(user) is None:
            raise ValueError("lists_as is no user whose name can stand for {user}")

    @property
    def per_user(self) -> bool:
        """Tell whether users have credentials of their own."""
        templated = self.value is not None and self.value.per_user
        return templated or bool(self.users) or self.assertion_key is not None

    @property
    def places(self) -> list[Place]:
        """All places named here."""
        named = [self.value, self.client_secret, *self.users.values()]
        return [place for place in named if place is not None]

    def below(self, base: Path) -> "CredentialSettings":
        """Return the same with relative paths standing beside the configuration."""

        def path(value: Path | None) -> Path | None:
            return None if value is None else base / value.expanduser()

        def place(value: Place | None) -> Place | None:
            return None if value is None else value.below(base)

        return self.model_copy(
            update={key: path(getattr(self, key)) for key in _PATHS}
            | {"value": place(self.value), "client_secret": place(self.client_secret)}
            | {"users": {user: each.below(base) for user, each in self.users.items()}}
        )


_PATHS = ("cert_file", "key_file", "ca_file", "assertion_key")


class VaultSettings(ConfigModel):
    """A HashiCorp Vault or OpenBao with a KV store of version 2."""

    address: SecureUrl
    """`https://host:port`."""
    token: SecretRef | None = None
    """Where our token is; or role_id and secret_id."""
    role_id: SecretRef | None = None
    """AppRole: where the role's id is."""
    secret_id: SecretRef | None = None
    """AppRole: where the secret id is."""
    namespace: str | None = None
    """Namespace, where the vault has them."""
    ca_file: Path | None = None
    """Authorities to trust instead of the system's (PEM)."""
    addresses: Networks = Field(default_factory=list)
    """Networks in which the vault must lie; empty: any but metadata services."""

    @model_validator(mode="after")
    def _check_login(self) -> Self:
        role = self.role_id is not None and self.secret_id is not None
        if (self.token is None) != role or (self.token and (self.role_id or self.secret_id)):
            raise ValueError("give either token, or role_id and secret_id")
        return self
