"""The commands `tunnel-client service`."""

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tunnel_client.cli_options import (
    SCHEMA_VERSION,
    config_option,
    config_path,
    json_option,
    show,
)

if TYPE_CHECKING:
    from tunnel_client.service.apply import Done
    from tunnel_client.service.plan import Plan, Where


@click.group()
def service() -> None:
    """Run the client under systemd, started with the machine."""


def _where_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--user", is_flag=True, help="The systemd of this user, without root."),
        click.option(
            "--root",
            type=click.Path(path_type=Path, file_okay=False, exists=True, resolve_path=True),
            help="Write into the file system that is mounted at this folder; starts nothing.",
        ),
        click.option("--dry-run", is_flag=True, help="Show what would be written and run."),
        json_option,
    ):
        command = option(command)
    return command


@service.command()
@config_option
@click.option(
    "--profile",
    type=click.Choice(["http", "stdio"]),
    help="stdio lets programs start in their sandbox. Default: as the upstreams need.",
)
@_where_options
def install(
    config: Path | None,
    profile: str | None,
    user: bool,
    root: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write the unit for this configuration, enable it and start it.

    Again after a change of upstreams or credentials: what differs is written anew.
    """
    from tunnel_client.service.apply import install, may_apply
    from tunnel_client.service.plan import make_plan
    from tunnel_client.settings import parse_settings, read_config

    where = _where(user, root)
    named = config_path(config).absolute()
    # The shell's own TUNNEL_CLIENT_* variables do not reach a service.
    settings = parse_settings(read_config(where.inside(named)), named, {})
    plan = make_plan(settings, named, _program(where), where, profile)
    if not dry_run:
        may_apply(where, os.environ)
    done = install(plan, where, dry=dry_run)
    if as_json:
        facts = {"profile": plan.profile, "notes": plan.notes}
        texts = {str(path): text for path, text in plan.files.items()} if dry_run else None
        show(_answer(done, dry_run) | facts | ({"texts": texts} if texts else {}))
        return
    _tell(done, dry_run, plan)
    if not dry_run and not where.offline:
        click.echo("It runs. Next: tunnel-client doctor --through-relay")
        if user:
            click.echo("To have it run while you are not logged in: loginctl enable-linger")


@service.command()
@_where_options
def uninstall(user: bool, root: Path | None, dry_run: bool, as_json: bool) -> None:
    """Stop the service and remove what `install` wrote; configuration and state stay."""
    from tunnel_client.service.apply import may_apply, uninstall

    where = _where(user, root)
    if not dry_run:
        may_apply(where, os.environ)
    done = uninstall(where, dry=dry_run)
    kept = "configuration and state are kept; `tunnel-client run` works as before"
    if as_json:
        show(_answer(done, dry_run) | {"notes": [kept]})
        return
    _tell(done, dry_run, None)
    click.echo(f"{'' if done.files else 'Nothing is installed; '}{kept}")


def _where(user: bool, root: Path | None) -> "Where":
    from tunnel_client.service.plan import Where, config_home

    if user and root is not None:
        raise click.UsageError("--user and --root do not go together")
    return Where(user, root or Path("/"), config_home(os.environ))


def _program(where: "Where") -> Path:
    """Return this very program, as the unit names it; elsewhere it is in /usr/bin."""
    if where.offline:
        return Path("/usr/bin/tunnel-client")
    started = Path(sys.argv[0])
    if started.name == "tunnel-client" and started.is_absolute() and started.exists():
        return started
    return Path(sys.executable).with_name("tunnel-client")


def _answer(done: "Done", dry: bool) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "dry_run": dry,
        "files": [{"path": str(path), "state": state} for path, state in done.files.items()],
        "commands": done.commands,
    }


def _tell(done: "Done", dry: bool, plan: "Plan | None") -> None:
    for path, state in done.files.items():
        click.echo(f"{'would be ' if dry and state != 'unchanged' else ''}{state}: {path}")
        if dry and plan is not None and path in plan.files:
            click.echo("".join(f"    {line}\n" for line in plan.files[path].splitlines()))
    for command in done.commands:
        click.echo(f"{'would run' if dry else 'ran'}: {shlex.join(command)}")
    for note in plan.notes if plan is not None else ():
        click.echo(f"note: {note}")
