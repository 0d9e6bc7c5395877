"""The commands `tunnel-relay policy ...`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tunnel_relay.cli import answer, common, config_option, config_words, look_at
from tunnel_relay.errors import CONFIGURATION, FAILED

if TYPE_CHECKING:
    from shared.policy.model import Policy

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def policy() -> None:
    """What sessions may be used for; the private side decides again, by its own policy."""


@policy.command("check")
@click.argument("file", required=False, type=_FILE)
@common
def policy_check(file: Path | None, config: Path | None, as_json: bool) -> None:
    """Check the policy, or FILE, and tell every fault with its line."""
    from shared.configfile import ConfigError
    from shared.policy.document import read_policy
    from tunnel_relay.errors import Code, RelayError
    from tunnel_relay.policy.load import read_policy_text

    path = file or _policy_path(config)
    text = read_policy_text(path)
    try:
        found = read_policy(text, str(path))
    except ConfigError as error:
        if not as_json:
            raise RelayError(Code.POLICY_BROKEN, str(error)) from None
        listed = [
            {"line": each.line, "key": each.key, "message": each.message} for each in error.problems
        ]
        answer({"ok": False, "file": str(path), "problems": listed})
        sys.exit(CONFIGURATION)
    facts = {"rules": len(found.rules), "digest": found.digest, "environment": found.environment}
    if as_json:
        answer({"ok": True, "file": str(path), "problems": []} | facts)
    else:
        click.echo(f"ok: {path}: {len(found.rules)} rules, digest {found.digest}")


@policy.command("init")
@config_option
def policy_init(config: Path | None) -> None:
    """Write a policy to start from: whatever sessions open. Never overwrites."""
    from tunnel_relay.policy.start import write_default

    path = _policy_path(config)
    write_default(path)
    click.echo(f"wrote {path}; read it, then: tunnel-relay policy check{config_words(config)}")


@policy.command("test")
@click.argument("fixtures", required=False, type=_FILE)
@common
@click.option("--policy", "file", type=_FILE, help="Another policy than the configured one.")
@click.option("--user", help="Show what this user could do.")
@click.option("--agent", help="Through this agent.")
@click.option("--group", "groups", multiple=True, help="A group of the user's; repeatable.")
@click.option(
    "--server", "servers", multiple=True, metavar="TUNNEL/UPSTREAM", help="Where; repeatable."
)
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
    """Hold the policy against FIXTURES, or show what --user could do with --agent.

    The user's groups and servers are those on this relay, and the tools those that clients which
    are connected tell of. --group adds to the groups, --server says which servers instead.
    """
    if (fixtures is None) == (user is None) or (user is None) != (agent is None):
        raise click.UsageError("give either FIXTURES, or --user and --agent")
    from tunnel_relay.policy.load import load_policy

    # Before root looks after the relay's files: one that is stopped would have its database opened.
    known = _known(config, user) if user is not None else {}
    found = load_policy(file or _policy_path(config)).policy
    if fixtures is not None:
        _run_fixtures(found, fixtures, as_json)
    else:
        _show_map(found, as_json, page, (user or "", groups, agent or ""), servers, known)


def _run_fixtures(found: "Policy", path: Path, as_json: bool) -> None:
    from shared.policy.fixtures import run_fixtures
    from shared.policy.pages import results_text
    from tunnel_relay.policy.start import load_fixtures

    results = run_fixtures(found, load_fixtures(path))
    passed = all(each.passed for each in results)
    if as_json:
        answer(
            {"ok": passed, "digest": found.digest, "calls": [each.as_data() for each in results]}
        )
    else:
        click.echo(results_text(results))
    sys.exit(0 if passed else FAILED)


def _show_map(
    found: "Policy",
    as_json: bool,
    page: Path | None,
    who: tuple[str, tuple[str, ...], str],
    servers: tuple[str, ...],
    known: dict[str, Any],
) -> None:
    from shared.policy.classes import ToolClass
    from shared.policy.model import Subject
    from shared.policy.pages import map_page, map_text
    from shared.policy.permissions import ANY, permission_map
    from tunnel_relay.policy.start import write_page

    subject = Subject(who[0], frozenset((*known["groups"], *who[1])), who[2])
    names = servers or tuple(known["servers"]) or (ANY,)
    tools = [
        (server, tool, None if kind is None else ToolClass(kind))
        for server, tool, kind in known["tools"]
        if server in names
    ]
    rows = permission_map(found, subject, tools, names)
    if page is not None:
        write_page(page, map_page(rows, subject, found.digest))
    if as_json:
        rest = {"known": known["known"], "groups": sorted(subject.groups)}
        answer({"digest": found.digest, **rest, "map": [row.as_data() for row in rows]})
    elif page is None:
        click.echo(map_text(rows))
    else:
        click.echo(f"wrote {page}")


def _known(config: Path | None, user: str) -> dict[str, Any]:
    """Ask the relay, or its database, who the user is and which tools there are."""
    from tunnel_relay.cli import run
    from tunnel_relay.errors import RelayError

    nothing: dict[str, Any] = {"known": False, "groups": [], "servers": [], "tools": []}
    try:
        known: dict[str, Any] = run(config, "policy_known", user=user)
    except RelayError as error:
        # A policy is tried out also where no relay is: then by class, for the groups given.
        click.echo(f"note: the relay was not asked: {error.code}: {error.message}", err=True)
        return nothing
    if not known["known"]:
        note = "nobody here is known so: only the groups given, and every server a client offers"
        click.echo(f"note: {note}", err=True)
    elif not known["servers"]:
        click.echo("note: this user may use no server; shown is what the rules alone say", err=True)
    return known


def _policy_path(config: Path | None) -> Path:
    path = look_at(config).policy
    assert path is not None  # noqa: S101 - read_settings fills it in
    return path
