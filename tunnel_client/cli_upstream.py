"""The commands `tunnel-client upstream ...`."""

import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

from tunnel_client.cli_consent import (
    approve_added,
    consent_options,
    sandbox_options,
    sandbox_table,
)
from tunnel_client.cli_credential import asked_credential, credential_options
from tunnel_client.cli_options import (
    SCHEMA_VERSION,
    config_option,
    config_path,
    json_option,
    quiet,
    read_settings,
    show,
)
from tunnel_client.cli_tools import first_pins


@click.group()
def upstream() -> None:
    """The private MCP servers this client offers."""


@upstream.command("list")
@config_option
@json_option
def upstream_list(config: Path | None, as_json: bool) -> None:
    """List the configured upstreams."""
    from tunnel_client.render import upstream_row

    rows = [upstream_row(each) for each in read_settings(config).upstream]
    if as_json:
        show({"schema_version": SCHEMA_VERSION, "upstreams": rows})
        return
    if not rows:
        show("no upstreams; add one: tunnel-client upstream add NAME --url URL")
    for row in rows:
        show(f"{row['name']:<20} {row['kind']:<6} {row['target']}")


@upstream.command("add", context_settings={"ignore_unknown_options": False})
@click.argument("name")
@click.argument("command", nargs=-1)
@config_option
@click.option("--url", help="http://, https:// or unix:/path.sock:/mcp")
@click.option(
    "--ca-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True, resolve_path=True),
    help="Trust this authority instead of the system's (PEM, https only).",
)
@click.option("--cwd", type=click.Path(path_type=Path, file_okay=False, resolve_path=True))
@click.option("--inherit-env", multiple=True, metavar="NAME", help="Let the program see this.")
@click.option(
    "--env",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set this for the program; a secret by where it is: NAME=file:PATH or credential:NAME.",
)
@click.option("--no-pin", is_flag=True, help="Do not ask the server for its tools now.")
@json_option
@credential_options
@sandbox_options
@consent_options
def upstream_add(
    name: str, command: tuple[str, ...], config: Path | None, url: str | None, **given: Any
) -> None:
    """Add an upstream: NAME --url URL, or NAME -- PROGRAM ARGUMENT... for stdio.

    Then shows what a program would start, lists the tools, and asks once about each: whether it may
    be started, and which tools are pinned with which classes.
    """
    from tunnel_client.audit.commands import record
    from tunnel_client.upstream_file import add_upstream, check_addition

    if (url is None) == (not command):
        raise click.UsageError("give either --url URL or -- PROGRAM ARGUMENT...")
    path, as_json, yes = config_path(config), given["as_json"], given["yes"]
    kind = "stdio" if command else "http"
    table, facts = _table(name, command, url, given), {"upstream": name, "transport": kind}
    check_addition(path, table, os.environ)
    write_down = partial(record, read_settings(path), "upstream.added", **facts)
    add_upstream(path, table, os.environ, write_down)
    if not as_json:
        show(f"added {name} to {path}; a running client serves it after a restart")
    may_ask = yes or (sys.stdin.isatty() and not as_json)
    if command:
        if may_ask:
            dangerous = given["allow_dangerous"]
            settings = read_settings(path)
            approve_added(settings, name, yes=yes, allow_dangerous=dangerous, quiet=as_json)
        elif not as_json:
            show(f"it is not started before you agree: tunnel-client consent approve {name}")
    result: dict[str, Any] = {"pinned": [], "error": None}
    if may_ask and not given["no_pin"]:
        result = first_pins(read_settings(path), name, yes=yes)
    elif not as_json:
        show(f"see whether it answers: tunnel-client upstream test {name}")
        show(f"agents see its tools once they are pinned: tunnel-client tool pin {name}")
    if as_json:
        show({"schema_version": SCHEMA_VERSION, "name": name, "config": str(path)} | result)
    elif result["pinned"]:
        show(f"pinned {len(result['pinned'])} of its tools")


def _table(
    name: str, command: tuple[str, ...], url: str | None, given: Mapping[str, Any]
) -> dict[str, Any]:
    ca_file, cwd = given["ca_file"], given["cwd"]
    return {
        "name": name,
        "url": url,
        "command": list(command) or None,
        "ca_file": None if ca_file is None else str(ca_file),
        "cwd": None if cwd is None else str(cwd),
        "inherit_env": list(given["inherit_env"]) or None,
        "env": _variables(given["env"]) or None,
        "credential": asked_credential(given["credential"], given["credential_set"], url),
        **sandbox_table(given),
    }


def _variables(pairs: tuple[str, ...]) -> dict[str, str]:
    found = dict(pair.split("=", 1) for pair in pairs if pair.find("=") > 0)
    if len(found) != len(pairs):
        raise click.UsageError("--env takes NAME=VALUE, each name once")
    return found


@upstream.command("remove")
@click.argument("name")
@config_option
@json_option
def upstream_remove(name: str, config: Path | None, as_json: bool) -> None:
    """Take an upstream out of the configuration; comments of the rest stay.

    What was pinned and agreed to under its NAME stays in the state folder, and the files that its
    credential is read from where they are.
    """
    from tunnel_client.audit.commands import record
    from tunnel_client.upstream_file import check_removal, remove_upstream

    path = config_path(config)
    settings = read_settings(path)
    check_removal(path, name)
    record(settings, "upstream.removed", upstream=name)
    remove_upstream(path, name)
    if as_json:
        show({"schema_version": SCHEMA_VERSION, "name": name, "config": str(path)})
        return
    show(f"removed {name} from {path}; a running client serves it until it is started again")
    show(f"its pins and its consent stay in {settings.state_dir}, its credential where it is")


@upstream.command("test")
@click.argument("name")
@config_option
@json_option
def upstream_test(name: str, config: Path | None, as_json: bool) -> None:
    """Connect to an upstream and say which MCP versions it speaks."""
    from shared.link import loop
    from tunnel_client.errors_upstreams import UnknownUpstreamError
    from tunnel_client.upstream_probe import probe_upstream, verdict
    from tunnel_client.upstreams import guards_of

    settings = read_settings(config)
    found = settings.find(name)
    if found is None:
        raise UnknownUpstreamError(f"no upstream is called {name}")
    quiet()
    report = loop.run(probe_upstream(found, dict(os.environ), guards_of(settings), settings.vault))
    if as_json:
        show({"schema_version": SCHEMA_VERSION, "name": name} | report.as_dict())
    else:
        show(verdict(name, report))
