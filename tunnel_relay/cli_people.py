"""The commands `tunnel-relay user ...` and `tunnel-relay agent ...`."""

import sys
from pathlib import Path
from typing import Any

import click

from tunnel_relay.cli import Duration, answer, common, done, listing, run

role_option = click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice(["user", "auditor", "approver", "admin"]),
    help="What the user may do beside using servers; repeatable.",
)
group_option = click.option("--group", "groups", multiple=True, help="Repeatable.")
server_option = click.option(
    "--server",
    "servers",
    multiple=True,
    metavar="TUNNEL/UPSTREAM",
    help="What the user may open sessions for; TUNNEL/* and * too; repeatable.",
)
password_option = click.option(
    "--password-file",
    type=click.File("r"),
    metavar="FILE",
    help="Read the password from here, - is standard input; left out: it is asked for.",
)


@click.group()
def user() -> None:
    """People: local accounts, and those other issuers vouch for."""


@user.command("add")
@common
@click.argument("user_key", metavar="USER")
@click.option("--name", help="For people to read.")
@role_option
@group_option
@server_option
@password_option
@click.option("--no-password", is_flag=True, help="No login here.")
def user_add(
    config: Path | None,
    as_json: bool,
    user_key: str,
    password_file: Any,
    no_password: bool,
    **given: Any,
) -> None:
    """Add a user. One of another issuer is written https://ISSUER#SUBJECT."""
    password = None if no_password or "#" in user_key else _password(password_file)
    values = {
        key: list(value) if isinstance(value, tuple) else value for key, value in given.items()
    }
    result = run(config, "user_add", user=user_key, password=password, **values)
    if as_json:
        answer(result)
        return
    shown = result["user"]
    click.echo(f"{shown['user']} is added ({', '.join(shown['roles'])})")
    if not shown["servers"]:
        click.echo("Next, what it may use:")
        click.echo(f"  tunnel-relay user change {shown['user']} --server TUNNEL/UPSTREAM")


@user.command("list")
@common
def user_list(config: Path | None, as_json: bool) -> None:
    """List all users."""
    from tunnel_relay import render

    listing(as_json, "users", run(config, "user_list"), render.users)


@user.command("show")
@common
@click.argument("user_key", metavar="USER")
def user_show(config: Path | None, as_json: bool, user_key: str) -> None:
    """Show a user and the sessions that are not over."""
    from tunnel_relay import render

    shown = run(config, "user_show", user=user_key)
    if as_json:
        answer({"user": shown})
    else:
        click.echo(render.user(shown))


@user.command("change")
@common
@click.argument("user_key", metavar="USER")
@click.option("--name", help="For people to read.")
@role_option
@group_option
@server_option
@click.option("--no-servers", is_flag=True, help="Take every server away.")
def user_change(
    config: Path | None,
    as_json: bool,
    user_key: str,
    name: str | None,
    no_servers: bool,
    **given: tuple[str, ...],
) -> None:
    """Change what a user is and may; what is given takes the place of what was."""
    from tunnel_relay import render

    wanted: dict[str, Any] = {key: list(value) for key, value in given.items() if value}
    if no_servers:
        wanted["servers"] = []
    result = run(config, "user_change", user=user_key, name=name, **wanted)
    said = f"; {render.cut(result)}" if result["sessions"] else ""
    done(result, as_json, f"{user_key} is changed{said}")


@user.command("password")
@common
@click.argument("user_key", metavar="USER")
@password_option
def user_password(config: Path | None, as_json: bool, user_key: str, password_file: Any) -> None:
    """Set a local user's password."""
    result = run(config, "user_password", user=user_key, password=_password(password_file))
    if as_json:
        answer(result)
    else:
        click.echo(f"the password of {user_key} is set")


@user.command("disable")
@common
@click.argument("user_key", metavar="USER")
@click.option("--reason", default="disabled by an admin", show_default=True)
def user_disable(config: Path | None, as_json: bool, user_key: str, reason: str) -> None:
    """Refuse a user, and end all that is theirs, links of their tunnels included."""
    from tunnel_relay import render

    result = run(config, "user_disable", user=user_key, reason=reason)
    done(result, as_json, f"{user_key} is disabled; {render.cut(result)}")


@user.command("enable")
@common
@click.argument("user_key", metavar="USER")
def user_enable(config: Path | None, as_json: bool, user_key: str) -> None:
    """Let a disabled user in again."""
    result = run(config, "user_enable", user=user_key)
    if as_json:
        answer(result)
    else:
        click.echo(f"{user_key} is enabled; sessions that ended stay ended")


@user.command("token")
@common
@click.argument("user_key", metavar="USER")
@click.option("--ttl", type=Duration(), default="8h", show_default=True, help="90s, 15m, 8h, 7d.")
@click.option("--name", default="admin API", show_default=True, help="What it is for.")
def user_token(config: Path | None, as_json: bool, user_key: str, ttl: float, name: str) -> None:
    """Make a token for the admin API and print it, this once. It may what its user may."""
    result = run(config, "user_token", user=user_key, ttl=ttl, name=name)
    if as_json:
        answer(result)
        return
    click.echo(f"{result['token']}\n\nThis token is shown once. Send it as a header:")
    click.echo("  Authorization: Bearer TOKEN")
    click.echo(f"Next:\n  tunnel-relay user token-revoke {result['admin_token']['id'][:12]}")


@user.command("tokens")
@common
@click.argument("user_key", metavar="USER", required=False)
def user_tokens(config: Path | None, as_json: bool, user_key: str | None) -> None:
    """List the admin tokens that work, of one user or of all."""
    from tunnel_relay import render

    listing(as_json, "tokens", run(config, "user_tokens", user=user_key), render.admin_tokens)


@user.command("token-revoke")
@common
@click.argument("token", metavar="TOKEN-ID")
def user_token_revoke(config: Path | None, as_json: bool, token: str) -> None:
    """End an admin token; the start of its identifier is enough."""
    result = run(config, "user_token_revoke", token=token)
    shown = result["admin_token"]
    done(result, as_json, f"{shown['id'][:12]} of {shown['user']} works no more")


@user.command("passkeys")
@common
@click.argument("user_key", metavar="USER", required=False)
def user_passkeys(config: Path | None, as_json: bool, user_key: str | None) -> None:
    """List the passkeys with which approvers sign in the console, of one user or of all."""
    from tunnel_relay import render

    listing(as_json, "passkeys", run(config, "passkey_list", user=user_key), render.passkeys)


@user.command("passkey-remove")
@common
@click.argument("passkey", metavar="PASSKEY-ID")
def user_passkey_remove(config: Path | None, as_json: bool, passkey: str) -> None:
    """Let a passkey sign no more; the start of its identifier is enough."""
    result = run(config, "passkey_remove", passkey=passkey)
    shown = result["passkey"]
    done(result, as_json, f"{shown['id'][:12]} of {shown['user']} signs no more")


@click.group()
def agent() -> None:
    """Agents: the OAuth clients this relay knows."""


@agent.command("add")
@common
@click.argument("agent_id", metavar="AGENT")
@click.option("--name", help="Shown to people who are asked for consent.")
@click.option("--redirect-uri", "redirect_uris", multiple=True, required=True, help="Repeatable.")
@click.option("--secret", is_flag=True, help="Make a client secret, printed once.")
def agent_add(
    config: Path | None,
    as_json: bool,
    agent_id: str,
    name: str | None,
    redirect_uris: tuple[str, ...],
    secret: bool,
) -> None:
    """Register an agent under a client id of your choice."""
    given = {"name": name, "redirect_uris": list(redirect_uris), "secret": secret}
    result = run(config, "agent_add", agent=agent_id, **given)
    if as_json:
        answer(result)
        return
    if result["secret"]:
        click.echo(f"{result['secret']}\n\nThis client secret is shown once.")
    click.echo(f"{agent_id} is registered; its client id is {agent_id}")


@agent.command("list")
@common
def agent_list(config: Path | None, as_json: bool) -> None:
    """List all agents."""
    from tunnel_relay import render

    listing(as_json, "agents", run(config, "agent_list"), render.agents)


@agent.command("disable")
@common
@click.argument("agent_id", metavar="AGENT")
@click.option("--reason", default="disabled by an admin", show_default=True)
def agent_disable(config: Path | None, as_json: bool, agent_id: str, reason: str) -> None:
    """Refuse an agent, and end its sessions."""
    from tunnel_relay import render

    result = run(config, "agent_disable", agent=agent_id, reason=reason)
    done(result, as_json, f"{agent_id} is disabled; {render.cut(result)}")


@agent.command("enable")
@common
@click.argument("agent_id", metavar="AGENT")
def agent_enable(config: Path | None, as_json: bool, agent_id: str) -> None:
    """Let a disabled agent in again."""
    result = run(config, "agent_enable", agent=agent_id)
    if as_json:
        answer(result)
    else:
        click.echo(f"{agent_id} is enabled; sessions that ended stay ended")


def _password(source: Any) -> str:
    """Return a password from a file, a pipe or a prompt; never from an argument."""
    if source is not None:
        return str(source.readline()).rstrip("\r\n")
    if not sys.stdin.isatty():
        raise click.UsageError("no terminal to ask on: give --password-file - and pipe it in")
    typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return typed
