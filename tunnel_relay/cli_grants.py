"""The commands `tunnel-relay tunnel ...` and `tunnel-relay session ...`."""

from pathlib import Path
from typing import Any

import click

from shared.policy.classes import IN_ORDER
from tunnel_relay.cli import (
    Duration,
    answer,
    common,
    config_words,
    done,
    listing,
    run,
)

PAGE = 1000
"""Sessions asked for at a time: as many as the relay gives at once."""


@click.group()
def tunnel() -> None:
    """Registrations of private networks."""


@tunnel.command("create")
@common
@click.argument("name")
@click.option("--owner", required=True, metavar="USER", help="Who answers for it.")
def tunnel_create(config: Path | None, as_json: bool, name: str, owner: str) -> None:
    """Register a tunnel and print its join code, this once."""
    _join_code(run(config, "tunnel_create", name=name, owner=owner), as_json)


@tunnel.command("list")
@common
def tunnel_list(config: Path | None, as_json: bool) -> None:
    """List all tunnels."""
    from tunnel_relay import render

    listing(as_json, "tunnels", run(config, "tunnel_list"), render.tunnels)


@tunnel.command("show")
@common
@click.argument("name")
def tunnel_show(config: Path | None, as_json: bool, name: str) -> None:
    """Show a tunnel and the clients that enrolled."""
    from tunnel_relay import render

    shown = run(config, "tunnel_show", name=name)
    if as_json:
        answer({"tunnel": shown})
    else:
        click.echo(render.tunnel(shown))


@tunnel.command("disable")
@common
@click.argument("name")
def tunnel_disable(config: Path | None, as_json: bool, name: str) -> None:
    """End a tunnel's links and refuse it until it is enabled."""
    from tunnel_relay import render

    result = run(config, "tunnel_disable", name=name)
    done(result, as_json, f"{name} is disabled; {render.cut(result)}")


@tunnel.command("enable")
@common
@click.argument("name")
def tunnel_enable(config: Path | None, as_json: bool, name: str) -> None:
    """Let a disabled tunnel work again."""
    result = run(config, "tunnel_enable", name=name)
    if as_json:
        answer(result)
    else:
        click.echo(f"{name} is enabled")


@tunnel.command("rotate")
@common
@click.argument("name")
@click.option("--drop-clients", is_flag=True, help="Also forget every client that enrolled.")
def tunnel_rotate(config: Path | None, as_json: bool, name: str, drop_clients: bool) -> None:
    """Print a new join code; the unused one before it is worth nothing then."""
    result = run(config, "tunnel_rotate", name=name, drop_instances=drop_clients)
    _join_code(result, as_json)


@tunnel.command("delete")
@common
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def tunnel_delete(config: Path | None, as_json: bool, name: str, yes: bool) -> None:
    """Forget a tunnel with its clients and sessions."""
    if not yes:
        click.confirm(f"Delete {name} with its clients and sessions?", abort=True, err=True)
    from tunnel_relay import render

    result = run(config, "tunnel_delete", name=name)
    done(result, as_json, f"{name} is deleted; {render.cut(result)}")


@click.group()
def session() -> None:
    """Grants: who may use which server with which agent, until when."""


@session.command("create")
@common
@click.option("--user", required=True, help="The person who uses it.")
@click.option("--agent", required=True, help="The agent that will hold the token.")
@click.option("--server", required=True, metavar="TUNNEL/UPSTREAM")
@click.option("--ttl", type=Duration(), help="90s, 15m, 8h, 7d; default 12h.")
@click.option("--idle", type=Duration(), help="Ends it when unused for so long; default 1h.")
@click.option(
    *("--class", "classes"),
    type=click.Choice([str(each) for each in IN_ORDER]),
    multiple=True,
    help="Only tools of this class (may come several times); default: all.",
)
def session_create(
    config: Path | None,
    as_json: bool,
    user: str,
    agent: str,
    server: str,
    ttl: float | None,
    idle: float | None,
    classes: tuple[str, ...],
) -> None:
    """Grant access to one server and print the token, this once."""
    from tunnel_relay.durations import format_duration

    arguments: dict[str, Any] = {"user": user, "agent": agent, "server": server}
    arguments |= {"ttl": ttl, "idle": idle}
    if classes:
        arguments["classes"] = list(classes)
    result = run(config, "session_create", **arguments)
    if as_json:
        answer(result)
        return
    if result["warning"]:
        click.echo(f"warning: {result['warning']}", err=True)
    shown = result["session"]
    lives = shown["expires"] - shown["created"]
    click.echo(f"{result['token']}\n")
    click.echo("This token is shown once. The agent sends it as a header:")
    click.echo("  Authorization: Bearer TOKEN")
    click.echo(f"to {result['url']}")
    click.echo(
        f"It ends in {format_duration(lives)}, or after {format_duration(shown['idle'])} unused."
    )
    option = config_words(config)
    click.echo("Next:")
    click.echo(
        f"  tunnel-relay connect-info{option} {shown['server']} --for claude-code --with-token"
    )
    click.echo(f"  tunnel-relay session revoke{option} {shown['id'][:12]}")


@session.command("list")
@common
@click.option("--all", "ended", is_flag=True, help="Those that ended too.")
@click.option("--user", help="Only this user's.")
@click.option("--query", help="Found in user, agent or server, or the start of the identifier.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many; default: all.")
def session_list(
    config: Path | None,
    as_json: bool,
    ended: bool,
    user: str | None,
    query: str | None,
    limit: int | None,
) -> None:
    """List the live sessions, the newest first."""
    from tunnel_relay import render

    wanted = {"ended": ended, "user": user, "query": query or ""}
    rows: list[Any] = []
    after: str | None = None
    while limit is None or len(rows) < limit:
        page = PAGE if limit is None else min(PAGE, limit - len(rows))
        found = run(config, "session_list", **wanted, limit=page, after=after)
        rows += found["sessions"]
        after = found["next"]
        if after is None:
            break
    listing(as_json, "sessions", rows, render.sessions)


@session.command("show")
@common
@click.argument("session_id", metavar="SESSION")
def session_show(config: Path | None, as_json: bool, session_id: str) -> None:
    """Show a session; the start of its identifier is enough."""
    from tunnel_relay import render

    shown = run(config, "session_show", session=session_id)
    if as_json:
        answer({"session": shown})
    else:
        click.echo(render.session(shown))


@session.command("revoke")
@common
@click.argument("session_id", metavar="SESSION")
@click.option("--reason", default="revoked by an admin", show_default=True)
def session_revoke(config: Path | None, as_json: bool, session_id: str, reason: str) -> None:
    """End a session for good, and the calls it is running."""
    from tunnel_relay import render

    result = run(config, "session_revoke", session=session_id, reason=reason)
    shown = result["session"]
    said = f"{shown['id'][:12]} is revoked; {render.cut(result)}"
    if shown["door"] == "issuer":
        said += (
            "\nTokens of the same login at the issuer open nothing any more. "
            f"Lift that: tunnel-relay session lift{config_words(config)} {shown['id'][:12]}"
        )
    done(result, as_json, said)


@session.command("barred")
@common
def session_barred(config: Path | None, as_json: bool) -> None:
    """List revoked sessions that keep an issuer's tokens out."""
    from tunnel_relay import render

    listing(as_json, "barred", run(config, "session_barred"), render.barred)


@session.command("lift")
@common
@click.argument("session_id", metavar="SESSION")
def session_lift(config: Path | None, as_json: bool, session_id: str) -> None:
    """Let an issuer's tokens open again what was revoked."""
    result = run(config, "session_lift", session=session_id)
    if as_json:
        answer(result)
    else:
        shown = result["barred"]
        click.echo(f"{shown['user']} may use {shown['server']} with {shown['agent']} again")


def _join_code(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        answer(result)
        return
    click.echo(f"{result['join_code']}\n")
    click.echo("This join code is shown once, works once, and for one hour. On the client, type")
    click.echo(f"  {result['command']}")
    click.echo("and paste it when asked.")
