"""The commands `tunnel-relay approval ...`."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tunnel_relay.cli import answer, common, listing, must_be_stored, read, run

if TYPE_CHECKING:
    from shared.keys import PrivateKey
    from tunnel_relay.approvals.signing import Shown

F = TypeVar("F", bound=Callable[..., object])
API = "TUNNEL_RELAY_API"
_INSTEAD = "set that variable to your admin token, or give --token file:PATH (mode 0600)"
PAGE = 500
"""Requests that are asked for at once."""


def reachable(command: F) -> F:
    """Give a command what it needs to reach a relay on another machine, as a user."""
    for option in (
        click.option("--ca-file", type=click.Path(path_type=Path), help="Trust this, PEM."),
        click.option(
            "--api",
            metavar="URL",
            help=f"The relay's console; with --token. Else ${API}, or the configuration's.",
        ),
        click.option(
            "--token",
            metavar="REF",
            help="Your admin token, env:NAME or file:PATH: you give the command, not the operator.",
        ),
    ):
        command = option(command)
    return common(command)


@click.group()
def approval() -> None:
    """Calls that wait for a person's word."""


@approval.command("list")
@reachable
@click.option("--all", "every", is_flag=True, help="Decided, used and expired ones too.")
@click.option("--query", default="", help="Found in a name, the state or the identifier.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=500, show_default=True, help="At most so many."
)
def approval_list(
    config: Path | None, as_json: bool, every: bool, query: str, limit: int, **how: Any
) -> None:
    """List what waits for a decision, the oldest first."""
    from tunnel_relay import render_approvals

    rows: list[Any] = []
    after: str | None = None
    while len(rows) < limit:
        page = {"limit": min(PAGE, limit - len(rows)), "after": after}
        found = give(config, how, "approval_list", every=every, query=query, **page)
        rows += found["approvals"]
        after = found["next"]
        if after is None:
            break
    listing(as_json, "approvals", rows, render_approvals.approvals)
    if after is not None:
        click.echo(f"there may be more than these {limit}: --limit shows more", err=True)


@approval.command("show")
@reachable
@click.argument("approval_id", metavar="ID")
def approval_show(config: Path | None, as_json: bool, approval_id: str, **how: Any) -> None:
    """Show one request: all of its arguments, its tool, and who said what."""
    from tunnel_relay import render_approvals

    shown = give(config, how, "approval_show", approval=approval_id)
    if as_json:
        answer({"approval": shown})
    else:
        click.echo(render_approvals.approval(shown))


@approval.command("approve")
@reachable
@click.argument("approval_id", metavar="ID")
@click.option("--reason", default="", help="For the record; a break-glass call needs one.")
@click.option("--key", "key_file", type=click.Path(path_type=Path), help="Sign with this key.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def approval_approve(
    config: Path | None,
    as_json: bool,
    approval_id: str,
    reason: str,
    key_file: Path | None,
    yes: bool,
    **how: Any,
) -> None:
    """Let one call run, once, with exactly the arguments that are shown.

    With --key it is signed here, with your key; else the relay signs on your word.
    """
    from tunnel_relay import render_approvals
    from tunnel_relay.approvals import signing
    from tunnel_relay.errors import Code, RelayError

    if how["token"] is None and how["api"] is None:
        raise RelayError(Code.APPROVER_NEEDED, "give this command as a user, with their token")
    key = None if key_file is None else read_key(key_file)
    found = give(config, how, "approval_show", approval=approval_id)
    shown = signing.check(found)
    if not yes:
        _check_worth_asking(found)
    click.echo(render_approvals.approval(found) if key is None else _to_sign(shown), err=True)
    # What one's own agent asked for the relay refuses anyway, and writes down that it was tried.
    if not (yes or found["own"]):
        click.confirm("Approve this call?", abort=True, err=True)
    signed = {} if key is None else signing.sign(shown, key)
    done = give(config, how, "approval_approve", approval=shown.permit.id, reason=reason, **signed)
    if as_json:
        answer({"approval": done})
    else:
        how_many = f"{len(done['approvals'])} of {done['count']} approvals"
        by = "your key" if key is not None else "the relay, on your word"
        click.echo(f"{done['id'][:12]} is {done['state']} ({how_many}); signed by {by}")


@approval.command("deny")
@reachable
@click.argument("approval_id", metavar="ID")
@click.option("--reason", required=True, help="For the record.")
def approval_deny(
    config: Path | None, as_json: bool, approval_id: str, reason: str, **how: Any
) -> None:
    """Refuse a call, or take back an approval that was not used yet."""
    result = give(config, how, "approval_deny", approval=approval_id, reason=reason)
    if as_json:
        answer(result)
    else:
        click.echo(f"{result['approval']['id'][:12]} is denied")
    must_be_stored(result)


@approval.command("keygen")
@click.argument("file", type=click.Path(path_type=Path))
def approval_keygen(file: Path) -> None:
    """Make a key to approve with, in FILE; its public half goes into a client's policy."""
    from shared.keys import PrivateKey, encode_public, key_fingerprint
    from tunnel_relay.files import write_new

    key = PrivateKey.generate()
    write_new(file, key.to_pem().get_secret_value())
    click.echo(f"{encode_public(key.public)}\n")
    click.echo(f"This is the public half (fingerprint {key_fingerprint(key.public)}).")
    click.echo("In the policy file of a client, under approver_keys:")
    click.echo(f"  YOUR-NAME: {encode_public(key.public)}")


def give(config: Path | None, how: dict[str, Any], command: str, **arguments: Any) -> Any:
    """Give a command: over the admin API as a user where there is a token, else as the operator."""
    token, api, ca_file = how["token"], how["api"], how["ca_file"]
    if token is None:
        if api is not None:
            raise click.UsageError("--api takes --token")
        return run(config, command, **arguments)
    from shared.configfile import SecretRef
    from tunnel_relay.admin.remote import call_api
    from tunnel_relay.errors import RelayError
    from tunnel_relay.keyfiles import read_secret

    try:
        reference = SecretRef.parse(token)
    except ValueError as error:
        raise click.UsageError(f"--token: {error}") from None
    origin = api or os.environ.get(API) or _own_api(config)
    try:
        secret = read_secret(reference, os.environ)
    except RelayError as error:
        # It is of whoever gives the command, not of the configuration.
        raise RelayError(error.code, f"--token: {error.message}", then=_INSTEAD) from None
    return call_api(origin, secret, command, arguments, ca_file)


def read_key(path: Path) -> "PrivateKey":
    """Read an approver's key; raises RelayError KEY_UNUSABLE or FILE_UNSAFE."""
    from pydantic import SecretStr

    from shared.keys import BadKeyError, PrivateKey
    from tunnel_relay.errors import Code, RelayError
    from tunnel_relay.files import read_private

    try:
        return PrivateKey.from_pem(SecretStr(read_private(path)))
    except BadKeyError as error:
        raise RelayError(Code.KEY_UNUSABLE, f"{path}: {error}") from None


def _own_api(config: Path | None) -> str:
    admin = read(config).admin
    if admin is None or admin.origin is None:
        raise click.UsageError("say where the relay's console is: --api URL")
    return admin.origin


def _check_worth_asking(found: dict[str, Any]) -> None:
    """Refuse before the question what the relay would refuse after it; raises RelayError."""
    from tunnel_relay.errors import Code, RelayError

    if found["state"] != "pending":
        raise RelayError(Code.APPROVAL_OVER, f"it is {found['state']} already")
    if not (found["may_decide"] or found["own"]):
        raise RelayError(Code.ROLE_NEEDED, "the rule asks others for this approval")


def _to_sign(shown: "Shown") -> str:
    from tunnel_relay import render_approvals

    return render_approvals.to_sign(shown)
