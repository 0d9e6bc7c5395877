"""`tunnel-client consent`: what stdio upstreams start, shown in full and agreed to once."""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from tunnel_client.consent.guard import Guard
    from tunnel_client.settings import ClientSettings

SCHEMA_VERSION = 1
F = TypeVar("F", bound=Callable[..., Any])

_config_option = click.option(
    "--config",
    "config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Configuration file.",
)


def consent_options(command: F) -> F:
    """Add the options that answer the question before it is asked."""
    command = click.option("--yes", is_flag=True, help="Agree without being asked, for scripts.")(
        command
    )
    return click.option(
        "--allow-dangerous",
        is_flag=True,
        help="Agree to sudo, rm -rf, shells that read an argument, and the like.",
    )(command)


def sandbox_options(command: F) -> F:
    """Add the options of `upstream add` that open the sandbox of a stdio upstream."""
    path = click.Path(path_type=Path, exists=True, resolve_path=True)
    for name, what in (("--write", "change"), ("--read", "read")):
        text = f"Let the program {what} this file or folder."
        command = click.option(name, multiple=True, type=path, metavar="PATH", help=text)(command)
    command = click.option(
        "--host", multiple=True, metavar="NAME:PORT", help="Let the program reach this."
    )(command)
    command = click.option(
        "--network", is_flag=True, help="Let the program reach all this machine can."
    )(command)
    return click.option(
        "--allow-unpinned", is_flag=True, help="Start a package runner without a version."
    )(command)


def sandbox_table(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the options of `sandbox_options` come to in an `[[upstream]]` table."""
    rules: dict[str, Any] = {
        "read": [str(each) for each in options["read"]],
        "write": [str(each) for each in options["write"]],
        "hosts": list(options["host"]),
        "network": options["network"],
    }
    given = {key: value for key, value in rules.items() if value}
    return {"allow_unpinned": options["allow_unpinned"] or None, "sandbox": given or None}


@click.group()
def consent() -> None:
    """What stdio upstreams start on this machine, and who agreed to it."""


@consent.command("list")
@_config_option
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def consent_list(config: Path | None, as_json: bool) -> None:
    """List the stdio upstreams: agreed to or not, and how far their sandbox goes."""
    from tunnel_client.consent.show import escaped
    from tunnel_client.errors import ClientError
    from tunnel_client.upstreams import guards_of

    settings = _settings(config)
    guards = guards_of(settings)
    rows: list[dict[str, Any]] = []
    for upstream in settings.upstream:
        if upstream.url is None:
            try:
                guard = guards.of(upstream, os.environ)
                refusal, reached = guard.refusal(), str(guard.reached)
            except ClientError as error:
                refusal, reached = error, "-"
            problem = None if refusal is None else {"code": refusal.code, "cause": refusal.cause}
            rows.append(
                {
                    "name": upstream.name,
                    "consented": refusal is None,
                    "sandbox": reached,
                    "problem": problem,
                }
            )
    if as_json:
        click.echo(json.dumps({"schema_version": SCHEMA_VERSION, "consents": rows}, indent=2))
        return
    for row in rows:
        problem = row["problem"]
        said = "agreed" if problem is None else f"{problem['code']}: {escaped(problem['cause'])}"
        click.echo(f"{row['name']:<20} {said}\n{'':<20} {row['sandbox']}")
    if not rows:
        click.echo("no stdio upstreams")


@consent.command("approve")
@click.argument("name")
@_config_option
@consent_options
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON; needs --yes.")
def consent_approve(
    name: str, config: Path | None, yes: bool, allow_dangerous: bool, as_json: bool
) -> None:
    """Show in full what the upstream NAME starts, and agree to exactly that."""
    from tunnel_client.errors_upstreams import UnknownUpstreamError
    from tunnel_client.upstreams import guards_of

    settings = _settings(config)
    found = settings.find(name)
    if found is None or found.url is not None:
        raise UnknownUpstreamError(f"no stdio upstream is called {name}")
    if as_json and not yes:
        raise click.UsageError("--json does not ask: add --yes")
    guard = guards_of(settings).of(found, os.environ)
    facts = _approve(settings, guard, name, yes=yes, allow_dangerous=allow_dangerous, quiet=as_json)
    if as_json:
        answer = {"schema_version": SCHEMA_VERSION, "name": name, "consented": facts}
        click.echo(json.dumps(answer, indent=2))


def approve_added(
    settings: "ClientSettings", name: str, *, yes: bool, allow_dangerous: bool, quiet: bool = False
) -> None:
    """Ask about an upstream that was just added; without a terminal say how to agree later."""
    from tunnel_client.upstreams import guards_of

    found = settings.find(name)
    if found is None:
        return
    if not yes and not sys.stdin.isatty():
        click.echo(f"it is not started before you agree: tunnel-client consent approve {name}")
        return
    guard = guards_of(settings).of(found, os.environ)
    _approve(settings, guard, name, yes=yes, allow_dangerous=allow_dangerous, quiet=quiet)


def _approve(
    settings: "ClientSettings",
    guard: "Guard",
    name: str,
    *,
    yes: bool,
    allow_dangerous: bool,
    quiet: bool = False,
) -> dict[str, Any]:
    from tunnel_client.audit.commands import record
    from tunnel_client.consent.facts import canonical
    from tunnel_client.consent.show import pages

    start = guard.propose()
    try:
        facts = start.facts
        if not quiet:
            click.echo(pages(name, facts, str(guard.reached)))
        dangers = bool(facts["dangers"])
        _ask(name, facts["dangers"], yes=yes, allow_dangerous=allow_dangerous)
        digest = hashlib.sha256(canonical(facts)).hexdigest()
        record(settings, "consent.approved", upstream=name, consent=digest, dangers=dangers)
        guard.approve(start, dangers=dangers)
    finally:
        start.close()
    if not quiet:
        click.echo(f"agreed; anything that changes is asked about again ({name})")
    return facts


def _ask(name: str, dangers: list[str], *, yes: bool, allow_dangerous: bool) -> None:
    from tunnel_client.errors_upstreams import ConsentDeclinedError, DangerousCommandError

    if not yes and not sys.stdin.isatty():
        raise ConsentDeclinedError("no terminal to ask on").naming(NAME=name)
    if dangers and not allow_dangerous:
        if yes:
            raise DangerousCommandError(
                "; ".join(dangers),
                f"tunnel-client consent approve {name} --yes --allow-dangerous",
            )
        typed = click.prompt(f"This is dangerous. Type {name} to go on", default="", err=True)
        if typed != name:
            raise ConsentDeclinedError("the name was not typed").naming(NAME=name)
    if not yes and not click.confirm("Start exactly this when agents call it?", err=True):
        raise ConsentDeclinedError("you did not agree").naming(NAME=name)


def _settings(config: Path | None) -> "ClientSettings":
    from tunnel_client.settings import default_config, load_settings

    return load_settings(config or default_config(os.environ), os.environ)
