"""What `upstream add` asks about a credential: where the secret is, never the secret."""

import sys
from collections.abc import Callable
from typing import TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., object])

_KINDS = (
    *("bearer", "header", "api_key", "basic", "mtls"),
    *("client_credentials", "token_exchange"),
)
_ASKED: dict[str, tuple[str, ...]] = {
    "bearer": ("value",),
    "header": ("name", "value"),
    "api_key": ("name", "value"),
    "basic": ("user", "value"),
    "mtls": ("cert_file", "key_file"),
    "client_credentials": ("token_url", "client_id", "client_secret"),
    "token_exchange": ("token_url", "client_id", "client_secret", "value"),
}
_WHERE = "where the secret is: file:PATH, env:NAME, credential:NAME or vault:MOUNT/PATH#FIELD"
_QUESTIONS = {
    "value": f"value ({_WHERE})",
    "client_secret": f"client_secret ({_WHERE})",
    "name": "name of the header",
    "user": "user name",
    "lists_as": "lists_as (the user whose credential is shown to list the tools)",
}


def credential_options(command: _F) -> _F:
    """Add the options of a credential to a command."""
    kind = click.option(
        "--credential",
        type=click.Choice(_KINDS),
        help="What the server is shown; agents never see it. Asks for the rest.",
    )
    more = click.option(
        "--credential-set",
        multiple=True,
        metavar="KEY=VALUE",
        help="A key of [upstream.credential], as value=file:/etc/creds/crm.",
    )
    return kind(more(command))


def asked_credential(
    kind: str | None, given: tuple[str, ...], url: str | None
) -> dict[str, str] | None:
    """Return the table for the configuration, bound to the origin of `url`; None without one."""
    if kind is None:
        if given:
            raise click.UsageError("--credential-set goes with --credential KIND")
        return None
    if url is None:
        raise click.UsageError("--credential goes with --url; for a program use env")
    from tunnel_client.errors import SettingsError
    from tunnel_client.upstream.http_target import BadTargetError, origin_of

    try:
        table = {"kind": kind, "origin": origin_of(url)}
    except BadTargetError as error:
        raise SettingsError(str(error)) from None
    for pair in given:
        key, found, value = pair.partition("=")
        if not found or key in table:
            raise click.UsageError("--credential-set takes KEY=VALUE, not kind and origin")
        table[key] = value
    for key in _ASKED[kind]:
        # Who signs assertions for users needs no token of theirs.
        if key != "value" or "assertion_key" not in table:
            _ask_for(key, table)
    if "assertion_key" in table or "{user}" in table.get("value", ""):
        _ask_for("lists_as", table)
    return table


def _ask_for(key: str, table: dict[str, str]) -> None:
    if key not in table:
        if not sys.stdin.isatty():
            raise click.UsageError(f"no terminal to ask: add --credential-set {key}=...")
        table[key] = click.prompt(_QUESTIONS.get(key, key))
