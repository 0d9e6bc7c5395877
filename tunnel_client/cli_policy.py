"""The commands `tunnel-client policy ...`."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tunnel_client.errors import EXIT_CONFIGURATION, EXIT_FAILED

if TYPE_CHECKING:
    from shared.policy.model import Policy

SCHEMA_VERSION = 1
_FILE = click.Path(path_type=Path, dir_okay=False)
_config = click.option("--config", type=_FILE, help="Configuration file.")
_json = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


@click.group()
def policy() -> None:
    """What agents may do here; nothing the relay says overrides it."""


@policy.command("check")
@click.argument("file", required=False, type=_FILE)
@_config
@_json
def policy_check(file: Path | None, config: Path | None, as_json: bool) -> None:
    """Check the policy, or FILE, and tell every fault with its line."""
    from shared.configfile import ConfigError
    from shared.policy.document import read_policy
    from tunnel_client.errors import PolicyBrokenError
    from tunnel_client.policy.load import read_policy_text

    path = file or _policy_path(config)
    text = read_policy_text(path)
    try:
        found = read_policy(text, str(path))
    except ConfigError as error:
        if not as_json:
            raise PolicyBrokenError(str(error)) from None
        listed = [
            {"line": each.line, "key": each.key, "message": each.message} for each in error.problems
        ]
        _answer({"ok": False, "file": str(path), "problems": listed})
        sys.exit(EXIT_CONFIGURATION)
    facts = {"rules": len(found.rules), "digest": found.digest, "environment": found.environment}
    if as_json:
        _answer({"ok": True, "file": str(path), "problems": []} | facts)
    else:
        click.echo(f"ok: {path}: {len(found.rules)} rules, digest {found.digest}")


@policy.command("init")
@_config
def policy_init(config: Path | None) -> None:
    """Write a policy to start from: agents look and draft, and people approve the rest."""
    from tunnel_client.policy.start import write_default

    path = _policy_path(config)
    write_default(path)
    click.echo(f"wrote {path}; read it, then: tunnel-client policy check")


@policy.command("test")
@click.argument("fixtures", required=False, type=_FILE)
@_config
@_json
@click.option("--policy", "file", type=_FILE, help="Another policy than the configured one.")
@click.option("--user", help="Show what this user could do.")
@click.option("--agent", help="Through this agent.")
@click.option("--group", "groups", multiple=True, help="A group of the user's; repeatable.")
@click.option("--server", "servers", multiple=True, help="These upstreams only; repeatable.")
@click.option("--html", "page", type=_FILE, help="Write the table as a page of its own.")
def policy_test(
    fixtures: Path | None,
    config: Path | None,
    as_json: bool,
    file: Path | None,
    user: str | None,
    agent: str | None,
    groups: tuple[str, ...],
    servers: tuple[str, ...],
    page: Path | None,
) -> None:
    """Hold the policy against FIXTURES, or show what --user could do with --agent."""
    if (fixtures is None) == (user is None) or (user is None) != (agent is None):
        raise click.UsageError("give either FIXTURES, or --user and --agent")
    from tunnel_client.policy.load import load_policy

    found = load_policy(file or _policy_path(config)).policy
    if fixtures is not None:
        _run_fixtures(found, fixtures, as_json)
    else:
        _show_map(found, config, as_json, page, (user or "", groups, agent or ""), servers)


def _run_fixtures(found: "Policy", path: Path, as_json: bool) -> None:
    from shared.policy.fixtures import run_fixtures
    from shared.policy.pages import results_text
    from tunnel_client.policy.start import load_fixtures

    results = run_fixtures(found, load_fixtures(path))
    passed = all(each.passed for each in results)
    if as_json:
        _answer(
            {"ok": passed, "digest": found.digest, "calls": [each.as_data() for each in results]}
        )
    else:
        click.echo(results_text(results))
    sys.exit(0 if passed else EXIT_FAILED)


def _show_map(
    found: "Policy",
    config: Path | None,
    as_json: bool,
    page: Path | None,
    who: tuple[str, tuple[str, ...], str],
    servers: tuple[str, ...],
) -> None:
    from shared.policy.model import Subject
    from shared.policy.pages import map_page, map_text
    from shared.policy.permissions import permission_map
    from tunnel_client.policy.known_tools import known_tools
    from tunnel_client.policy.start import write_page

    settings = _settings(config)
    names = servers or tuple(each.name for each in settings.upstream)
    tools = [tool for tool in known_tools(settings.state_dir) if tool[0] in names]
    subject = Subject(who[0], frozenset(who[1]), who[2])
    rows = permission_map(found, subject, tools, names)
    if page is not None:
        write_page(page, map_page(rows, subject, found.digest))
    if as_json:
        _answer({"digest": found.digest, "map": [row.as_data() for row in rows]})
    elif page is None:
        click.echo(map_text(rows))
    else:
        click.echo(f"wrote {page}")


def _settings(config: Path | None) -> Any:
    from tunnel_client.cli_options import look_at

    return look_at(config)


def _policy_path(config: Path | None) -> Path:
    path: Path = _settings(config).policy
    return path


def _answer(value: dict[str, Any]) -> None:
    click.echo(json.dumps({"schema_version": SCHEMA_VERSION} | value, indent=2))
