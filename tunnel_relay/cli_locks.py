"""The commands `tunnel-relay lock ...`."""

from pathlib import Path

import click

from tunnel_relay.cli import Duration, answer, common, config_words, listing, must_be_stored, run


@click.group()
def lock() -> None:
    """Who and what is refused until it is lifted."""


@lock.command("add")
@common
@click.option("--user", help="Every session of this person.")
@click.option("--agent", help="Every session of this agent.")
@click.option("--upstream", metavar="TUNNEL/UPSTREAM", help="One private server, for everybody.")
@click.option("--tunnel", metavar="NAME", help="A tunnel: its sessions and its links.")
@click.option("--key", metavar="CLIENT", help="One enrolled client, by its identifier.")
@click.option("--ttl", type=Duration(), help="Lifts itself after 90s, 15m, 8h, 7d.")
@click.option("--reason", required=True, help="For those who find it later.")
def lock_add(
    config: Path | None,
    as_json: bool,
    ttl: float | None,
    reason: str,
    **subjects: str | None,
) -> None:
    """Refuse a user, agent, upstream, tunnel or key, and end what lives of it."""
    from tunnel_relay import render

    named = [(kind, subject) for kind, subject in subjects.items() if subject is not None]
    if len(named) != 1:
        raise click.UsageError("name one of --user, --agent, --upstream, --tunnel, --key")
    kind, subject = named[0]
    result = run(config, "lock_add", kind=kind, subject=subject, reason=reason, ttl=ttl)
    if as_json:
        answer(result)
    else:
        shown = result["lock"]
        click.echo(f"{kind} {shown['subject']} is locked; {render.cut(result)}")
        click.echo(f"Lift it: tunnel-relay lock remove{config_words(config)} {shown['id'][:12]}")
    must_be_stored(result)


@lock.command("list")
@common
def lock_list(config: Path | None, as_json: bool) -> None:
    """List the locks that hold."""
    from tunnel_relay import render

    listing(as_json, "locks", run(config, "lock_list"), render.locks)


@lock.command("remove")
@common
@click.argument("lock_id", metavar="LOCK")
def lock_remove(config: Path | None, as_json: bool, lock_id: str) -> None:
    """Lift a lock; the start of its identifier is enough."""
    result = run(config, "lock_remove", lock=lock_id)
    if as_json:
        answer(result)
    else:
        shown = result["lock"]
        click.echo(f"{shown['kind']} {shown['subject']} is not locked by this any more")
