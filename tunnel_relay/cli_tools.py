"""The commands `tunnel-relay tool ...`: what clients say of their tools."""

from pathlib import Path
from typing import Any

import click

from tunnel_relay.cli import answer, common, listing, run
from tunnel_relay.tools import STATES

PAGE = 1000
"""Tools asked for at a time: as many as the relay gives at once."""

_server = click.argument("server", metavar="TUNNEL/UPSTREAM")
_name = click.argument("name", metavar="TOOL")


@click.group()
def tool() -> None:
    """Tools of private servers, as connected clients tell of them.

    Which of them agents may use, and of which class they are, is decided at the private side:
    tunnel-client tool pin, tunnel-client tool classify.
    """


@tool.command("list")
@common
@click.argument("server", metavar="[TUNNEL/UPSTREAM]", required=False)
@click.option("--query", default="", help="Found in name or title; or a class.")
@click.option("--state", type=click.Choice(STATES), default="all", show_default=True)
def tool_list(
    config: Path | None, as_json: bool, server: str | None, query: str, state: str
) -> None:
    """List tools with class and state; clients that do not say the same are shown one by one."""
    from tunnel_relay import render_tools

    rows: list[dict[str, Any]] = []
    start: int | None = 0
    while start is not None:
        wanted: dict[str, Any] = {"server": server, "query": query, "state": state}
        found = run(config, "tool_list", **wanted, limit=PAGE, start=start)
        rows += found["tools"]
        start = found["next"]
    listing(as_json, "tools", rows, render_tools.tools)


@tool.command("show")
@common
@_server
@_name
def tool_show(config: Path | None, as_json: bool, server: str, name: str) -> None:
    """Show a tool with its definition, as those who approve see it."""
    from tunnel_relay import render_tools

    found = run(config, "tool_show", server=server, tool=name)
    if as_json:
        answer({"tool": found})
    else:
        click.echo(render_tools.tool(found))


@tool.command("diff")
@common
@_server
@_name
def tool_diff(config: Path | None, as_json: bool, server: str, name: str) -> None:
    """Show how the definitions that two clients tell of a tool differ.

    How one differs from what was pinned is known at the private side only.
    """
    from tunnel_relay import render_tools

    found = run(config, "tool_show", server=server, tool=name)
    difference = render_tools.difference(found)
    if as_json:
        answer({"tool": found, "diff": difference})
    elif difference is not None:
        click.echo(difference)
    else:
        click.echo("Clients tell of one definition, or of none.")
        click.echo(f"What changed since it was pinned: {render_tools.next_step(found)}")


@tool.command("classify")
@_server
@_name
@click.argument("given", metavar="CLASS")
def tool_classify(server: str, name: str, given: str) -> None:
    """Say which command gives a tool its class: one at the private side."""
    import shlex

    from tunnel_relay.admin.checks import split_server
    from tunnel_relay.errors import Code, RelayError

    upstream = split_server(server)[1]
    words = shlex.join(("tunnel-client", "tool", "classify", upstream, name, given))
    raise RelayError(Code.PRIVATE_SIDE, f"type there: {words}")
